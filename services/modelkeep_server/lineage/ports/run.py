"""Runs, as the database keeps them."""

from __future__ import annotations

from collections.abc import Collection
from datetime import datetime
from typing import Protocol

from modelkeep.names import ProjectName, RunName

from modelkeep_server.database.paging import Listing, Page
from modelkeep_server.filtering.expression import Query
from modelkeep_server.lineage.domain.run import HeldRun, NewRun, Run, RunState, RunWords


class Runs(Protocol):
    """All runs."""

    async def add(self, run: NewRun) -> None:
        """Begin a run. Raises RunExists, RunDeleted."""
        ...

    async def get(self, name: RunName) -> Run:
        """A run. Raises RunNotFound, RunDeleted."""
        ...

    async def list(self, project: ProjectName, page: Page, query: Query) -> Listing[Run]:
        """The runs that `query` asks for, newest first unless it says otherwise; the project `-` stands for all of the team.

        Their arguments and packages are left out. Raises InvalidPageToken.
        """
        ...

    async def are_any(self, project: ProjectName) -> bool:
        """Whether a project ever had a run."""
        ...

    async def best(self, project: ProjectName, path: tuple[str, ...], query: Query, *, largest: bool) -> Run | None:
        """Among the runs that `query` asks for, the one with the largest or smallest number at a path of its summary.

        Of several, the one that began first.
        """
        ...

    async def lock(self, name: RunName) -> HeldRun:
        """Hold a run until the transaction ends. Raises RunNotFound, RunDeleted."""
        ...

    async def update(self, name: RunName, words: RunWords, etag: str) -> None:
        """Edit the words of a run, if its etag is still `etag` or that is empty.

        Raises RunNotFound, RunDeleted, EtagMismatch.
        """
        ...

    async def edit_tags(self, run: HeldRun, add: Collection[str], remove: Collection[str]) -> None:
        """Put tags on a run and take others off it."""
        ...

    async def beat(self, name: RunName) -> bool:
        """Note that a run is alive; false when there is no such run, or it has ended."""
        ...

    async def progress(self, run: HeldRun, summary_json: str, metric_count: int) -> None:
        """Note that a run is alive, and what its summary is now."""
        ...

    async def end(self, run: HeldRun, state: RunState, end_time: datetime | None) -> None:
        """End a run; without a time, now."""
        ...

    async def resume(self, run: HeldRun) -> None:
        """Make a run RUNNING, once more."""
        ...

    async def lock_deleted(self, name: RunName) -> bool:
        """Hold a run, deleted or not, until the transaction ends; whether it was deleted. Raises RunNotFound."""
        ...

    async def delete(self, run: HeldRun, actor: str, reason: str) -> None:
        """Leave of a run only that it was deleted. Its points are taken away apart: there may be many."""
        ...
