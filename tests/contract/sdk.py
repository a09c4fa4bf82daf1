"""What the tests of the SDK against the whole product share."""

from __future__ import annotations

import os
from pathlib import Path

import modelkeep

Content = dict[str, bytes]


def write(root: Path, content: Content) -> Path:
    root.mkdir(parents=True, exist_ok=True)
    for path, data in content.items():
        (root / path).parent.mkdir(parents=True, exist_ok=True)
        (root / path).write_bytes(data)
    return root


def read(root: Path) -> Content:
    return {str(path.relative_to(root)): path.read_bytes() for path in root.rglob("*") if path.is_file()}


def artifact(
    root: Path,
    content: Content,
    name: str = "digits",
    type: str = "model",  # noqa: A002 - as the SDK calls it
    **words: object,
) -> modelkeep.Artifact:
    made = modelkeep.Artifact(name, type, **words)  # type: ignore[arg-type]
    made.add_dir(write(root, content))
    return made


def some(size: int = 100) -> bytes:
    """Bytes that nobody logged before."""
    return os.urandom(size)
