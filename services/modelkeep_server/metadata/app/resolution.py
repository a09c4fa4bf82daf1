"""Resolve: from an address to a version. The hottest path of the service."""

from __future__ import annotations

from modelkeep.address import Address
from modelkeep.names import ProjectName

from modelkeep_server.metadata.domain.version import Version
from modelkeep_server.metadata.ports.transactions import Transactions
from modelkeep_server.runtime.callers import Caller


class ResolutionApp:
    """The use case of addresses."""

    def __init__(self, transactions: Transactions) -> None:
        self._transactions = transactions

    async def resolve(self, caller: Caller, parent: ProjectName, text: str) -> Version:
        """The version behind an address, in which `parent` stands for a team or project that it leaves out (SEM-3)."""
        address = Address.parse(text, parent.team, parent.project)
        caller.require(address.collection.team)
        found = await self._transactions.find(address)
        if found is not None:
            return found
        return await self._transactions.look(lambda work: work.resolution.resolve(address))
