"""Transactions on the service's database."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from datetime import datetime
from typing import Protocol, TypeVar

from modelkeep_server.lineage.ports.audit import Audit
from modelkeep_server.lineage.ports.metric import Metrics
from modelkeep_server.lineage.ports.run import Runs
from modelkeep_server.runtime.calls import Call

T = TypeVar("T")


class Work(Protocol):
    """One transaction: the tables of the service, one attribute per noun."""

    async def now(self) -> datetime:
        """The present moment by the database's clock; the same one for the whole transaction once asked."""
        ...

    @property
    def runs(self) -> Runs:
        """All runs."""
        ...

    @property
    def audit(self) -> Audit:
        """What a check of the whole database reads."""
        ...

    @property
    def metrics(self) -> Metrics:
        """The metrics of all runs, and their points."""
        ...


class Transactions(Protocol):
    """A step may run more than once, after a conflict, so it does nothing outside of its work."""

    async def look(self, step: Callable[[Work], Awaitable[T]]) -> T:
        """As `read`, for a step of one statement: nothing begins and nothing ends around it."""
        ...

    async def read(self, step: Callable[[Work], Awaitable[T]]) -> T:
        """Run `step` in a transaction that writes nothing."""
        ...

    async def write(self, step: Callable[[Work], Awaitable[T]]) -> T:
        """Run `step` in one transaction and commit it."""
        ...

    async def once(self, call: Call, answer: type[T], step: Callable[[Work], Awaitable[T]]) -> T:
        """As `write`, but a repeated call gets the first answer (SEM-14). Raises RequestIdReused."""
        ...
