"""Transactions on the service's database."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from datetime import datetime
from typing import Protocol, TypeVar

from modelkeep.address import Address
from modelkeep.names import ProjectName

from modelkeep_server.metadata.domain.event import Happening
from modelkeep_server.metadata.domain.version import Version
from modelkeep_server.metadata.ports.alias import Aliases
from modelkeep_server.metadata.ports.audit import Audit
from modelkeep_server.metadata.ports.collection import Collections
from modelkeep_server.metadata.ports.draft import Drafts
from modelkeep_server.metadata.ports.draft_entry import DraftEntries
from modelkeep_server.metadata.ports.event import Events
from modelkeep_server.metadata.ports.fence import Fence
from modelkeep_server.metadata.ports.key import Keys
from modelkeep_server.metadata.ports.manifest import Manifests
from modelkeep_server.metadata.ports.project import Projects, Teams
from modelkeep_server.metadata.ports.resolution import Resolution
from modelkeep_server.metadata.ports.rule import Rules
from modelkeep_server.metadata.ports.signature import Signatures
from modelkeep_server.metadata.ports.use import Uses
from modelkeep_server.metadata.ports.version import Versions
from modelkeep_server.metadata.ports.watch import Watches
from modelkeep_server.runtime.calls import Call

T = TypeVar("T")


class Work(Protocol):
    """One transaction: the tables of the service, one attribute per noun, and the events that it will write at its end."""

    async def now(self) -> datetime:
        """The present moment by the database's clock; the same one for the whole transaction once asked."""
        ...

    def emit(self, project: ProjectName, actor: str, happening: Happening) -> None:
        """Note an event. All events of a transaction are written as its last statements, so numbers have no gaps (SEM-58)."""
        ...

    @property
    def keys(self) -> Keys:
        """The API keys of all teams and services."""
        ...

    @property
    def aliases(self) -> Aliases:
        """All aliases, and where they pointed."""
        ...

    @property
    def rules(self) -> Rules:
        """The rules of aliases."""
        ...

    @property
    def resolution(self) -> Resolution:
        """From addresses to versions."""
        ...

    @property
    def uses(self) -> Uses:
        """Which runs used which versions."""
        ...

    @property
    def events(self) -> Events:
        """The event logs."""
        ...

    @property
    def teams(self) -> Teams:
        """All teams."""
        ...

    @property
    def projects(self) -> Projects:
        """All projects."""
        ...

    @property
    def collections(self) -> Collections:
        """All collections."""
        ...

    @property
    def drafts(self) -> Drafts:
        """All drafts."""
        ...

    @property
    def draft_entries(self) -> DraftEntries:
        """The entries of drafts that are open."""
        ...

    @property
    def manifests(self) -> Manifests:
        """All manifests."""
        ...

    @property
    def versions(self) -> Versions:
        """All versions."""
        ...

    @property
    def signatures(self) -> Signatures:
        """All signatures."""
        ...

    @property
    def watches(self) -> Watches:
        """What those who watch aliases want to know."""
        ...

    @property
    def audit(self) -> Audit:
        """What a check of the whole database reads."""
        ...

    @property
    def fence(self) -> Fence:
        """The fence against collection."""
        ...


class Transactions(Protocol):
    """A step may run more than once, after a conflict, so it does nothing outside of its work."""

    async def find(self, address: Address) -> Version | None:
        """The live version behind an address, or None; what many calls ask at once is asked of the database once.

        Of an address with a digest or a moment it knows nothing. What was committed before the call is seen.
        """
        ...

    async def look(self, step: Callable[[Work], Awaitable[T]]) -> T:
        """As `read`, for a step of one statement: nothing begins and nothing ends around it."""
        ...

    async def read(self, step: Callable[[Work], Awaitable[T]]) -> T:
        """Run `step` in a transaction that writes nothing."""
        ...

    async def write(self, step: Callable[[Work], Awaitable[T]]) -> T:
        """Run `step` in one transaction and commit it, its events included."""
        ...

    async def recall(self, call: Call, answer: type[T]) -> T | None:
        """The answer that a call got before; None when it got none yet. Raises RequestIdReused."""
        ...

    async def once(self, call: Call, answer: type[T], step: Callable[[Work], Awaitable[T]]) -> T:
        """As `write`, but a repeated call gets the first answer (SEM-14). Raises RequestIdReused."""
        ...
