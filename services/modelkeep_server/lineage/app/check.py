"""Checking: whether all that the database says of runs holds together. It changes nothing (RELIABILITY §1)."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from functools import partial

from modelkeep_server.lineage.domain.problem import Problem
from modelkeep_server.lineage.ports.transactions import Transactions, Work


async def problems(transactions: Transactions) -> AsyncGenerator[Problem]:
    """Everything that is not as it should be; a batch at a time."""
    for problem in await transactions.read(lambda work: work.audit.points()):
        yield problem
    after = 0
    while True:
        found, after = await transactions.read(partial(_values, after))
        for problem in found:
            yield problem
        if not after:
            return


async def _values(after: int, work: Work) -> tuple[list[Problem], int]:
    found, following = await work.audit.values(after)
    return list(found), following
