"""Teams: see those that one may read."""

from __future__ import annotations

from modelkeep.errors import PermissionDenied
from modelkeep.names import TeamName

from modelkeep_server.database.paging import Listing, Page
from modelkeep_server.metadata.domain.project import Team
from modelkeep_server.metadata.ports.transactions import Transactions
from modelkeep_server.runtime.callers import Caller


class TeamApp:
    """The use cases of teams."""

    def __init__(self, transactions: Transactions) -> None:
        self._transactions = transactions

    async def get_team(self, caller: Caller, name: TeamName) -> Team:
        """A team. Raises TeamNotFound."""
        caller.require(name.team)
        return await self._transactions.look(lambda work: work.teams.get(name))

    async def list_teams(self, caller: Caller, page: Page) -> Listing[Team]:
        """The teams that the caller may read, by name. A service belongs to none, and may not ask."""
        if caller.is_service:
            raise PermissionDenied("this call needs the token of a user; a service has no teams", needs="a token of a user")
        readable = caller.readable_teams | {caller.team}
        return await self._transactions.read(lambda work: work.teams.list(readable, page))
