"""Runs: begin, show, find, edit, end and delete them."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import replace
from datetime import datetime
from typing import Final

from modelkeep.errors import InvalidArgument, LimitExceeded
from modelkeep.names import ANY, ProjectName, RunName

from modelkeep_server.database.paging import Listing, Page
from modelkeep_server.filtering.expression import Query
from modelkeep_server.filtering.searches import Searches
from modelkeep_server.lineage.domain.limits import Limits
from modelkeep_server.lineage.domain.run import NewRun, Run, RunState, RunWords, by_a_sane_clock
from modelkeep_server.lineage.ports.projects import Projects
from modelkeep_server.lineage.ports.transactions import Transactions, Work
from modelkeep_server.runtime.callers import Caller
from modelkeep_server.runtime.calls import Call

ERASED_AT_ONCE: Final = 50_000
"""Points of a deleted run that one transaction takes away at most."""


class RunApp:
    """The use cases of runs."""

    def __init__(self, transactions: Transactions, projects: Projects, limits: Limits, searches: Searches) -> None:
        self._transactions = transactions
        self._projects = projects
        self._limits = limits
        self._searches = searches

    async def create_run(self, call: Call, run: NewRun) -> Run:
        """Begin a run. Raises RunExists, RunDeleted, LimitExceeded."""
        call.caller.require(run.name.team)
        self._require_tags(len(run.tags))

        async def step(work: Work) -> Run:
            began = by_a_sane_clock(run.start_time, await work.now()) if run.start_time else None
            await work.runs.add(replace(run, start_time=began))
            return await work.runs.get(run.name)

        return await self._transactions.once(call, Run, step)

    async def get_run(self, caller: Caller, name: RunName) -> Run:
        """A run. Raises RunNotFound, RunDeleted."""
        caller.require(name.team)
        return await self._transactions.read(lambda work: work.runs.get(name))

    async def list_runs(self, caller: Caller, project: ProjectName, page: Page, query: Query) -> Listing[Run]:
        """The runs that `query` asks for; the project `-` stands for all of the team.

        Raises InvalidPageToken, ProjectNotFound.
        """
        caller.require(project.team)

        async def step(work: Work) -> tuple[Listing[Run], bool]:
            listing = await work.runs.list(project, page, query)
            return listing, bool(listing.items or page.token) or project.project == ANY or await work.runs.are_any(project)

        listing, is_known = await self._searches.run(query, lambda: self._transactions.read(step))
        if not is_known:
            await self._projects.require(project)
        return listing

    async def update_run(self, call: Call, name: RunName, words: RunWords, etag: str) -> Run:
        """Edit the words of a run (SEM-19). Raises RunNotFound, RunDeleted, EtagMismatch."""
        call.caller.require(name.team)

        async def step(work: Work) -> Run:
            await work.runs.update(name, words, etag)
            return await work.runs.get(name)

        return await self._transactions.once(call, Run, step)

    async def edit_run_tags(self, call: Call, name: RunName, add: Collection[str], remove: Collection[str]) -> Run:
        """Put tags on a run and take others off it (SEM-19). Raises RunNotFound, RunDeleted, InvalidArgument, LimitExceeded."""
        call.caller.require(name.team)
        if both := sorted(set(add) & set(remove)):
            raise InvalidArgument(f"the tag {both[0]!r} is to be added and to be removed; decide", field="add", tag=both[0])

        async def step(work: Work) -> Run:
            held = await work.runs.lock(name)
            tags = set((await work.runs.get(name)).tags)
            fresh, gone = sorted(set(add) - tags), sorted(set(remove) & tags)
            self._require_tags(len(tags) + len(fresh) - len(gone))
            if fresh or gone:
                await work.runs.edit_tags(held, fresh, gone)
            return await work.runs.get(name)

        return await self._transactions.once(call, Run, step)

    async def heartbeat(self, caller: Caller, name: RunName) -> None:
        """Note that a run is alive. Raises RunNotFound, RunDeleted, RunNotRunning."""
        caller.require(name.team)

        async def step(work: Work) -> None:
            if not await work.runs.beat(name):
                (await work.runs.lock(name)).require_running()

        await self._transactions.write(step)

    async def finish_run(self, call: Call, name: RunName, state: RunState, end_time: datetime | None) -> Run:
        """End a run; ending it again in the same way changes nothing. Raises RunNotFound, RunDeleted, RunNotRunning."""
        call.caller.require(name.team)

        async def step(work: Work) -> Run:
            run = await work.runs.lock(name)
            if not run.state.has_ended:
                ended = by_a_sane_clock(end_time, await work.now()) if end_time else None
                await work.runs.end(run, state, ended)
            elif run.state is not state:
                raise run.ended(f"it cannot end as {state.value} unless it is resumed")
            return await work.runs.get(name)

        return await self._transactions.once(call, Run, step)

    async def resume_run(self, call: Call, name: RunName) -> Run:
        """Make an ended or crashed run RUNNING again; one that runs stays so. Raises RunNotFound, RunDeleted."""
        call.caller.require(name.team)

        async def step(work: Work) -> Run:
            run = await work.runs.lock(name)
            if run.state is not RunState.RUNNING:
                await work.runs.resume(run)
            return await work.runs.get(name)

        return await self._transactions.once(call, Run, step)

    async def delete_run(self, call: Call, name: RunName, reason: str) -> None:
        """Delete a run with its metrics; its place in the graph stays (SEM-47, 51). Raises RunNotFound.

        Its points go after it, some at a time, so that a million of them keep nobody waiting. Who deletes it again goes on with
        what a crash left.
        """
        call.caller.require(name.team)

        async def step(work: Work) -> bool:
            if not await work.runs.lock_deleted(name):
                await work.runs.delete(await work.runs.lock(name), call.caller.actor, reason)
            return True

        await self._transactions.once(call, bool, step)
        while await self._transactions.write(lambda work: work.metrics.erase(name, ERASED_AT_ONCE)):
            pass

    def _require_tags(self, count: int) -> None:
        most = self._limits.max_tags
        if count > most:
            message = f"the run would have {count} tags; at most {most} are allowed: take some off first"
            raise LimitExceeded(message, field="tags", limit=most)
