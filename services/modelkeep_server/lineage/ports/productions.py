"""What runs produced, as the graph knows it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from modelkeep.names import RunName

from modelkeep_server.lineage.domain.graph import Link
from modelkeep_server.runtime.callers import Caller


class Productions(Protocol):
    """What runs produced."""

    async def produced(self, caller: Caller, run: RunName, most: int) -> Sequence[Link]:
        """At most so many versions that a run produced, newest first; of hidden ones nothing is told."""
        ...
