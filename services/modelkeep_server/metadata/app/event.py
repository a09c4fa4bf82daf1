"""Events: read the log of a project, and see how far all logs go."""

from __future__ import annotations

from modelkeep.errors import InvalidArgument
from modelkeep.names import ProjectName

from modelkeep_server.database.paging import Listing, Page
from modelkeep_server.metadata.domain.event import Event, EventHead
from modelkeep_server.metadata.ports.transactions import Transactions
from modelkeep_server.runtime.callers import Caller


class EventApp:
    """The use cases of events."""

    def __init__(self, transactions: Transactions) -> None:
        self._transactions = transactions

    async def list_events(self, caller: Caller, project: ProjectName, after: int, size: int) -> tuple[tuple[Event, ...], int]:
        """The events of a project after a sequence, oldest first, and the last sequence that it has."""
        caller.require(project.team)
        if after < 0:
            raise InvalidArgument(f"after_sequence is {after}; it must not be negative", field="after_sequence", value=after)
        return await self._transactions.read(lambda work: work.events.after(project, after, size))

    async def list_event_heads(self, caller: Caller, page: Page) -> Listing[EventHead]:
        """The last sequence of every project, for services."""
        caller.require("")
        return await self._transactions.look(lambda work: work.events.heads(page))
