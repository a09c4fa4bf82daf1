"""The best run by a number in its summary, and what it produced."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from modelkeep.errors import RunNotFound
from modelkeep.names import ANY, ProjectName, RunName

from modelkeep_server.database.paging import Page
from modelkeep_server.filtering.expression import Query
from modelkeep_server.filtering.searches import Searches
from modelkeep_server.lineage.app.graph import GraphApp
from modelkeep_server.lineage.domain.best import Best
from modelkeep_server.lineage.domain.graph import Direction, Link
from modelkeep_server.lineage.domain.graph_ask import NeighborsAsk
from modelkeep_server.lineage.domain.run import Run
from modelkeep_server.lineage.domain.values import number_at
from modelkeep_server.lineage.ports.productions import Productions
from modelkeep_server.lineage.ports.projects import Projects
from modelkeep_server.lineage.ports.transactions import Transactions, Work
from modelkeep_server.runtime.callers import Caller

MOST_PRODUCED: Final = 100
"""How many of what it produced are told."""


class GraphProductions:
    """The port `Productions`, answered by the graph."""

    def __init__(self, graph: GraphApp) -> None:
        self._graph = graph

    async def produced(self, caller: Caller, run: RunName, most: int) -> Sequence[Link]:
        """At most so many versions that a run produced, newest first."""
        listing, _ = await self._graph.list_neighbors(caller, NeighborsAsk(run, Direction.DOWNSTREAM), Page(most))
        return listing.items


class BestApp:
    """The use case of the best run."""

    def __init__(self, transactions: Transactions, projects: Projects, productions: Productions, searches: Searches) -> None:
        self._transactions = transactions
        self._projects = projects
        self._productions = productions
        self._searches = searches

    async def get_best_run(
        self, caller: Caller, project: ProjectName, path: tuple[str, ...], query: Query, *, largest: bool
    ) -> Best:
        """Among the runs that `query` asks for, the one with the largest or smallest number at a path of its summary.

        NaN is never the best; of several runs, the one that began first is. Raises RunNotFound when none has such a number,
        ProjectNotFound when there is no such project either.
        """
        caller.require(project.team)

        async def step(work: Work) -> tuple[Run | None, bool]:
            run = await work.runs.best(project, path, query, largest=largest)
            return run, run is not None or project.project == ANY or await work.runs.are_any(project)

        run, is_known = await self._searches.run(query, lambda: self._transactions.read(step))
        value = number_at(run.summary_json, path) if run else None
        if run is None or value is None:
            if not is_known:
                await self._projects.require(project)
            among = " that the filter asks for" if query.filter else ""
            shown = ".".join(path)
            where = f"{project.team}/{project.project}"
            message = f"no run{among} in {where} has a number {shown!r} in its summary; log it as a metric"
            raise RunNotFound(message, project=str(project), metric=shown)
        return Best(run, value, await self._productions.produced(caller, run.name, MOST_PRODUCED))
