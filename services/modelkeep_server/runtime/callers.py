"""Who is calling, and what the call needs.

One interceptor verifies the access token, looks up what the RPC needs, and sets the `Caller` of the call. The use case then
says which team the call is about: `caller.require(name.team)`. Nothing else knows about access.
"""

from __future__ import annotations

from contextvars import ContextVar
from dataclasses import dataclass, field
from enum import Enum, IntEnum

from modelkeep.errors import PermissionDenied


class Role(IntEnum):
    """What a key may do; each role includes the ones before it."""

    READ = 1
    WRITE = 2
    ADMIN = 3


class Access(Enum):
    """What an RPC needs. Every RPC has one line in the `ACCESS` table of its service; a server without it does not start."""

    ANONYMOUS = "nothing"
    ANY = "any valid token"
    READ = "read on the team, or a service token"
    WRITE = "write on the team"
    ADMIN = "admin on the team"
    SERVICE = "a service token"


@dataclass(frozen=True, slots=True)
class Caller:
    """The holder of a verified access token, during one call."""

    actor: str
    """Who: `teams/{team}/apiKeys/{id}`, `services/{name}`, or empty for an anonymous call."""
    team: str = ""
    """The team of the key; empty for services."""
    role: Role | None = None
    readable_teams: frozenset[str] = field(default_factory=frozenset)
    is_service: bool = False
    access: Access = Access.ANY
    """What this call needs."""
    request_id: str = ""

    def require(self, team: str) -> None:
        """Let the call go on only if this caller may do on `team` what the call needs. Raises PermissionDenied."""
        if not self.may(self.access, team):
            message = (
                f"this call needs {self.access.value}, which the key of {self.team or self.actor!r} does not have on {team!r}"
            )
            raise PermissionDenied(message, team=team, needs=self.access.value)

    def may(self, access: Access, team: str) -> bool:
        """Whether the caller may do on `team` what `access` says."""
        match access:
            case Access.READ:
                return self.is_service or team in self.readable_teams or team == self.team
            case Access.WRITE | Access.ADMIN:
                return self.role is not None and team == self.team and self.role >= Role[access.name]
            case Access.SERVICE:
                return self.is_service
            case Access.ANY | Access.ANONYMOUS:
                return True


_current: ContextVar[Caller] = ContextVar("caller")


def current() -> Caller:
    """The caller of the RPC that is being served."""
    return _current.get()


def serving() -> Caller | None:
    """The same, or None where no RPC is being served: in a job, or while a process starts."""
    return _current.get(None)


def enter(caller: Caller) -> None:
    """Set the caller of the RPC that begins in this task."""
    _current.set(caller)
