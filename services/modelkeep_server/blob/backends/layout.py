"""Where things stand in a store. Nothing else knows a key.

chunks/sha256/ab/cd/<64 hex digits>.<generation>      an object
incoming/<team>~<lease>~<64 hex digits>[~<nonce>]     a chunk that comes in; with a nonce once it is complete
staging/<64 hex digits>.<generation>                  a chunk that a client of this host leaves for us
staging/token                                         who can read it may use the folder
probe/<nonce>                                         what the start of an S3 backend tries the store with
"""

from __future__ import annotations

import base64
import re
from typing import TYPE_CHECKING, Final

from modelkeep.digest import Digest
from modelkeep.errors import InvalidName
from modelkeep.names import LeaseName

from modelkeep_server.blob.domain import ObjectName

if TYPE_CHECKING:
    from modelkeep_server.blob.domain import Incoming

CHUNKS: Final = "chunks/sha256"
INCOMING: Final = "incoming"
STAGING: Final = "staging"
TOKEN: Final = "token"  # noqa: S105 - the name of a file
PROBE: Final = "probe"

_OBJECT = re.compile(rf"{CHUNKS}/([0-9a-f]{{2}})/([0-9a-f]{{2}})/(\1\2[0-9a-f]{{60}})\.([0-9a-f]{{32}})")
_STAGED = re.compile(r"([0-9a-f]{64})\.([0-9a-f]{32})")
_SEPARATOR: Final = "~"  # occurs in no team, lease or digest


def key(name: ObjectName) -> str:
    """The key of an object."""
    digits = name.digest.hex
    return f"{CHUNKS}/{digits[:2]}/{digits[2:4]}/{digits}.{name.generation}"


def parse(text: str) -> ObjectName | None:
    """The object that has this key; None for a key that is not one of ours."""
    match = _OBJECT.fullmatch(text)
    return ObjectName(Digest(bytes.fromhex(match[3])), match[4]) if match else None


def staged_file(name: ObjectName) -> str:
    """The name of the file that is to become an object, inside of `staging/`."""
    return f"{name.digest.hex}.{name.generation}"


def parse_staged(file: str) -> ObjectName | None:
    """The object that a file in `staging/` is to become; None for a file that is not one of ours."""
    match = _STAGED.fullmatch(file)
    return ObjectName(Digest(bytes.fromhex(match[1])), match[2]) if match else None


def incoming_file(incoming: Incoming) -> str:
    """The name of the file that takes a chunk, inside of `incoming/`. At most 255 characters."""
    return _SEPARATOR.join((incoming.lease.team, incoming.lease.lease, incoming.chunk.digest.hex))


def complete_file(incoming: Incoming, nonce: str) -> str:
    """The name it gets when its last byte is in: from then on no other stream finds it. `nonce` has 8 characters."""
    return incoming_file(incoming) + _SEPARATOR + nonce


def is_complete(file: str) -> bool:
    """Whether the file of that name is a complete chunk."""
    return file.count(_SEPARATOR) == 3


def lease_of(file: str) -> LeaseName | None:
    """The lease of a file in `incoming/`; None for a file that is not one of ours."""
    try:
        team, lease, _ = file.split(_SEPARATOR, 2)
        return LeaseName(team, lease)
    except (ValueError, InvalidName):
        return None


def checksum(digest: Digest) -> str:
    """A digest as S3 writes it in headers and URLs."""
    return base64.b64encode(digest.sha256).decode("ascii")
