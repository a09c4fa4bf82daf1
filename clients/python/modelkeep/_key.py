"""API keys."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from modelkeep._wire import last, moment, moment_if_set
from modelkeep.api.metadata.v1 import key_pb2
from modelkeep.errors import InvalidArgument

if TYPE_CHECKING:
    from datetime import datetime

ROLES: Final = {"read": key_pb2.ROLE_READ, "write": key_pb2.ROLE_WRITE, "admin": key_pb2.ROLE_ADMIN}
"""What a key may do; each role includes the ones before it."""


@dataclass(frozen=True, slots=True)
class ApiKey:
    """An API key, without its secret."""

    id: str
    resource_name: str
    display_name: str
    role: str
    """`read`, `write` or `admin`."""
    readable_teams: tuple[str, ...]
    """Other teams whose content it may read."""
    create_time: datetime
    expire_time: datetime | None
    revoke_time: datetime | None

    @classmethod
    def from_pb(cls, message: key_pb2.ApiKey) -> ApiKey:
        """Read a message."""
        return cls(
            last(message.name),
            message.name,
            message.display_name,
            next((name for name, role in ROLES.items() if role == message.role), ""),
            tuple(last(team) for team in message.readable_teams),
            moment(message.create_time),
            moment_if_set(message, "expire_time"),
            moment_if_set(message, "revoke_time"),
        )


@dataclass(frozen=True, slots=True)
class NewKey:
    """A key that was just made, and its secret, which nobody can show again."""

    key: ApiKey
    secret: str = field(repr=False)


def parse_role(text: str) -> key_pb2.Role:
    """Read `read`, `write` or `admin`. Raises InvalidArgument."""
    if text not in ROLES:
        raise InvalidArgument(f"{text[:40]!r} is no role; choose one of {', '.join(ROLES)}", field="role", value=text[:40])
    return ROLES[text]
