"""API keys."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from enum import IntEnum

from modelkeep.names import ApiKeyName, TeamName


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
