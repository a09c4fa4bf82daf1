"""A folder beside a version: what differs, and making it equal."""

from __future__ import annotations

import os
import stat
from pathlib import Path
from typing import TYPE_CHECKING, Final, Literal, NamedTuple

from modelkeep._copy import sha256_of
from modelkeep._entries import entry_of
from modelkeep.errors import TargetUnusable, VerificationFailed

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from modelkeep._target import Target
    from modelkeep.api.metadata.v1 import entry_pb2
    from modelkeep.manifest import Entry

SHOWN: Final = 10
"""How many differences a message names; the metadata of the error has them all."""


class Difference(NamedTuple):
    """One way in which a folder is not a version."""

    kind: Literal["missing", "extra", "changed"]
    path: str
    detail: str = ""

    def __str__(self) -> str:
        text = f"{self.kind} {self.path}" + (f" ({self.detail})" if self.detail else "")
        return text if text.isprintable() else ascii(text)[1:-1]


def differences(entries: Iterable[entry_pb2.Entry], target: Target) -> Iterator[Difference]:
    """Everything that is missing, changed or extra; references are not expected to be there."""
    wanted = set()
    for message in entries:
        if message.HasField("digest") and not message.HasField("reference"):
            wanted.add(message.path)
            found = _difference(entry_of(message), target)
            if found is not None:
                yield found
    for path in sorted(target.others(wanted)):
        yield Difference("extra", path)


def _difference(entry: Entry, target: Target) -> Difference | None:
    descriptor = target.open_existing(entry.path)
    if descriptor is None:
        if target.has(entry.path):
            return Difference("changed", entry.path, "it is no regular file, or cannot be read")
        return Difference("missing", entry.path)
    try:
        found = os.fstat(descriptor)
        if found.st_size != entry.size_bytes:
            return Difference("changed", entry.path, f"{found.st_size:,} bytes instead of {entry.size_bytes:,}")
        if sha256_of(descriptor) != entry.digest.sha256:
            return Difference("changed", entry.path, "other content")
        if bool(found.st_mode & stat.S_IXUSR) != entry.executable:
            return Difference("changed", entry.path, "executable" if not entry.executable else "not executable")
    finally:
        os.close(descriptor)
    return None


def require_equal(entries: Iterable[entry_pb2.Entry], target: Target, name: str) -> None:
    """Raise VerificationFailed, with every difference, unless the folder is the version."""
    found = list(differences(entries, target))
    if found:
        counts = {kind: sum(one.kind == kind for one in found) for kind in ("missing", "extra", "changed")}
        summary = ", ".join(f"{count:,} {kind}" for kind, count in counts.items() if count)
        shown = "; ".join(map(str, found[:SHOWN])) + ("; …" if len(found) > SHOWN else "")
        message = f"{target.path!r} is not {name}: {summary}: {shown}"
        raise VerificationFailed(message, problems="\n".join(map(str, found)), **counts)


class Clearance:
    """Removes from a folder what a version does not have: first what is in the way, and the rest after the download."""

    def __init__(self, entries: Iterable[entry_pb2.Entry], target: Target) -> None:
        """Raises TargetUnusable for a folder that nobody can mean to empty."""
        if is_everybodys(target.path):
            raise TargetUnusable(f"{target.path!r} would be emptied by a checkout; choose another folder", path=target.path)
        self._target = target
        self._wanted = {m.path for m in entries if m.HasField("digest") and not m.HasField("reference")}
        self._folders = {folder for path in self._wanted for folder in folders_above(path)}
        extra = list(target.others(self._wanted))
        in_use = target.in_use()  # asked after that, as whoever is at it notes it before it is there
        self._extra = [path for path in extra if path not in in_use]

    def clear_way(self) -> None:
        """Remove files where folders have to be, and folders where files have to be."""
        in_way = {path for path in self._extra if path in self._folders or self._wanted.intersection(folders_above(path))}
        for path in in_way:
            self._target.remove(path)
        self._extra = [path for path in self._extra if path not in in_way]
        self._target.remove_empty_folders(self._folders)

    def clear_rest(self) -> None:
        """Remove everything else that the version does not have."""
        for path in self._extra:
            self._target.remove(path)
        self._target.remove_empty_folders(self._folders)


def is_everybodys(path: str | os.PathLike[str]) -> bool:
    """Whether a folder is the root of all, the user's home, or one that this lies in: nobody can mean one tool to have it."""
    folder = Path(path).resolve()
    try:
        home = Path.home().resolve()
    except RuntimeError:  # a user that the machine does not know
        home = Path("/")
    return folder == home or folder in home.parents or folder == Path("/")


def folders_above(path: str) -> Iterator[str]:
    """The folders that a path lies in, the nearest first."""
    while path := path.rpartition("/")[0]:
        yield path
