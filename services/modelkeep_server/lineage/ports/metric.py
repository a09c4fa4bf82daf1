"""Metrics, as the database keeps them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Protocol

from modelkeep.names import RunName

from modelkeep_server.database.paging import Listing, Page
from modelkeep_server.lineage.domain.metric import Batch, Metric, Point
from modelkeep_server.lineage.domain.run import HeldRun


class Metrics(Protocol):
    """The metrics of all runs, and their points."""

    async def some(self, run: HeldRun, keys: Sequence[str]) -> Mapping[str, Metric]:
        """Those metrics of a run that there are, by key."""
        ...

    async def keep(self, run: HeldRun, metrics: Sequence[Metric], batches: Sequence[Batch]) -> None:
        """Write metrics as they are now, and add points. Two statements, however many there are."""
        ...

    async def list(self, run: RunName, page: Page) -> Listing[Metric]:
        """The metrics of a run by key. Raises RunNotFound, RunDeleted, InvalidPageToken."""
        ...

    async def points(self, run: RunName, key: str, page: Page) -> Listing[Point]:
        """The points of a metric in the order in which they came.

        Raises RunNotFound, RunDeleted, MetricNotFound, InvalidPageToken.
        """
        ...

    async def erase(self, run: RunName, most: int) -> bool:
        """Take at most so many points of a deleted run away, and its metrics with the last; whether there is more."""
        ...
