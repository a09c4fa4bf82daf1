"""Uses: record that a run used a version."""

from __future__ import annotations

from dataclasses import replace

from modelkeep.names import VersionName, parse_words

from modelkeep_server.metadata.domain.event import VersionUsed
from modelkeep_server.metadata.domain.use import Recorded, Use
from modelkeep_server.metadata.ports.transactions import Transactions, Work
from modelkeep_server.runtime.callers import Access
from modelkeep_server.runtime.calls import Call


class UseApp:
    """The use cases of uses."""

    def __init__(self, transactions: Transactions) -> None:
        self._transactions = transactions

    async def record_use(self, call: Call, version: VersionName, use: Use) -> Recorded:
        """Record a use, once per run and version (SEM-39): the first one is an event, and its words stay.

        A later use by the same run only moves the version's last use forward, so that what is in use is seen to be.
        """
        call.caller.require(use.run.team)
        replace(call.caller, access=Access.READ).require(version.team)
        parse_words(use.run_display_name, "run_display_name")
        parse_words(use.alias_text, "alias_text")
        actor = call.caller.actor

        async def step(work: Work) -> Recorded:
            recorded = await work.uses.record(version, use, actor)
            if recorded.is_first:
                words = (str(use.run), use.run_display_name, use.alias_text)
                work.emit(version.parent.parent, actor, VersionUsed(str(version), recorded.version_uid, *words))
            return recorded

        return await self._transactions.once(call, Recorded, step)
