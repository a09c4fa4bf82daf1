"""Transactions on the service's database."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from datetime import datetime
from typing import Protocol, TypeVar

from modelkeep.names import ProjectName

from modelkeep_server.metadata.domain.call import Call
from modelkeep_server.metadata.domain.event import Happening

T = TypeVar("T")


class Work(Protocol):
    """One transaction: the tables of the service, one attribute per noun, and the events that it will write at its end."""

    async def now(self) -> datetime:
        """The present moment by the database's clock; the same one for the whole transaction once asked."""
        ...

    def emit(self, project: ProjectName, actor: str, happening: Happening) -> None:
        """Note an event. All events of a transaction are written as its last statements, so numbers have no gaps (SEM-58)."""
        ...


class Transactions(Protocol):
    """A step may run more than once, after a conflict, so it does nothing outside of its work."""

    async def read(self, step: Callable[[Work], Awaitable[T]]) -> T:
        """Run `step` in a transaction that writes nothing."""
        ...

    async def write(self, step: Callable[[Work], Awaitable[T]]) -> T:
        """Run `step` in one transaction and commit it, its events included."""
        ...

    async def once(self, call: Call, answer: type[T], step: Callable[[Work], Awaitable[T]]) -> T:
        """As `write`, but a repeated call gets the first answer (SEM-14). Raises RequestIdReused."""
        ...
