"""A digest: the name of some bytes."""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass
from typing import Final

from modelkeep.errors import InvalidArgument

_TEXT = re.compile(r"sha256:([0-9a-f]{64})")


@dataclass(frozen=True, slots=True, order=True)
class Digest:
    """A SHA-256 digest, 32 bytes. In text it carries its algorithm: `sha256:<64 hex digits>` (SEM-26)."""

    sha256: bytes

    def __post_init__(self) -> None:
        if len(self.sha256) != 32:
            raise InvalidArgument(f"a SHA-256 digest has 32 bytes, not {len(self.sha256)}", field="digest")

    @classmethod
    def of(cls, data: bytes | bytearray | memoryview) -> Digest:
        """The digest of `data`."""
        return cls(hashlib.sha256(data).digest())

    @classmethod
    def parse(cls, text: str) -> Digest:
        """Read `sha256:<hex>`. Raises InvalidArgument."""
        match = _TEXT.fullmatch(text)
        if match is None:
            message = f"{text[:100]!r} is not a digest; expected 'sha256:' and 64 lower-case hex digits"
            raise InvalidArgument(message, field="digest", value=text[:100])
        return cls(bytes.fromhex(match[1]))

    @property
    def hex(self) -> str:
        """The 64 hex digits alone."""
        return self.sha256.hex()

    def __str__(self) -> str:
        return f"sha256:{self.sha256.hex()}"


EMPTY: Final = Digest.of(b"")
"""The digest of no bytes."""
