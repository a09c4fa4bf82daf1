"""API keys: what a secret looks like, and what it stands for.

A secret reads `mk_<id>_<secret><check>`: 8 characters that name the row, 43 that are 256 random bits in base 62, and 6 that
are the CRC-32 of what stands before them, so that a mistyped or shortened secret costs no query, and a scanner for leaked
secrets finds few that are none.
"""

from __future__ import annotations

import hashlib
import re
import secrets
import string
import zlib
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from enum import IntEnum
from typing import Final

from modelkeep.errors import ApiKeyInvalid
from modelkeep.names import ApiKeyName, TeamName

_DIGITS: Final = string.digits + string.ascii_uppercase + string.ascii_lowercase
_SECRET = re.compile(r"(mk_([0-9A-Za-z]{8})_[0-9A-Za-z]{43})([0-9A-Za-z]{6})")

EMBEDDED_ID: Final = "embedded"
"""The id of the key that an embedded server gives itself at each start, in place of the one before."""
MAX_READABLE_TEAMS: Final = 32
"""All of them travel in each access token."""


class KeyRole(IntEnum):
    """What a key may do in its team; each role includes the ones before it."""

    READ = 1
    WRITE = 2
    ADMIN = 3


@dataclass(frozen=True, slots=True)
class ApiKey:
    """An API key of a team. Its secret was shown once and is stored only as a hash."""

    name: ApiKeyName
    display_name: str
    role: KeyRole
    readable_teams: tuple[TeamName, ...]
    create_time: datetime
    expire_time: datetime | None
    revoke_time: datetime | None


@dataclass(frozen=True, slots=True)
class KeyWish:
    """The key that somebody wants."""

    role: KeyRole
    readable_teams: tuple[TeamName, ...] = ()
    display_name: str = ""
    expire_time: datetime | None = None


@dataclass(frozen=True, slots=True)
class Secret:
    """What the holder of a key knows. It never stands in a log: its representation hides it."""

    id: str
    text: str = field(repr=False)

    @classmethod
    def draw(cls, key_id: str = "") -> Secret:
        """A new secret of 256 random bits."""
        key_id = key_id or _base62(secrets.randbits(64), 8)
        body = f"mk_{key_id}_{_base62(secrets.randbits(256), 43)}"
        return cls(key_id, body + _check(body))

    @classmethod
    def parse(cls, text: str) -> Secret:
        """Read a secret. Raises ApiKeyInvalid, without repeating a word of it."""
        match = _SECRET.fullmatch(text)
        if match is None or _check(match[1]) != match[3]:
            raise ApiKeyInvalid("this is not an API key of ours, or it was not copied whole; it begins with 'mk_'")
        return cls(match[2], text)

    @property
    def hash(self) -> bytes:
        """What is stored: with 256 random bits, a plain SHA-256 cannot be searched."""
        return hashlib.sha256(self.text.encode()).digest()


@dataclass(frozen=True, slots=True)
class Credential:
    """What is known of a key when somebody shows its secret; its time is judged by the clock of the database."""

    secret_hash: bytes
    team: str
    """Empty for a service's key."""
    service: str
    """Empty for a team's key."""
    role: KeyRole | None
    readable_teams: tuple[str, ...]
    is_revoked: bool
    is_expired: bool


@dataclass(frozen=True, slots=True)
class Exchanged:
    """An access token, and what it allows."""

    token: str = field(repr=False)
    lifetime: timedelta
    team: str
    role: KeyRole | None


def _base62(number: int, length: int) -> str:
    text = ""
    for _ in range(length):
        number, digit = divmod(number, 62)
        text = _DIGITS[digit] + text
    return text


def _check(body: str) -> str:
    return _base62(zlib.crc32(body.encode()), 6)
