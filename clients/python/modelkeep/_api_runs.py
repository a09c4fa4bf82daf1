"""What the API knows of runs: find, compare, delete."""

from __future__ import annotations

from typing import TYPE_CHECKING

from modelkeep import _recorded_run
from modelkeep._wire import require_text
from modelkeep.names import ProjectName

if TYPE_CHECKING:
    from collections.abc import Iterator

    from modelkeep._channel import Connection
    from modelkeep._recorded_run import RecordedRun
    from modelkeep._version import Version


class RunsApi:
    """The part of `modelkeep.Api` that is about runs."""

    _connection: Connection

    def run(self, run: str) -> RecordedRun:
        """A run: `[[team/]project/]id`, its resource name, or its display name when only one run of the project has it.

        Raises RunNotFound, RunDeleted, InvalidName.
        """
        return _recorded_run.find_run(self._connection, run)

    def runs(
        self,
        project: str | None = None,
        *,
        filter: str = "",  # noqa: A002 - the word that users know
        order: str = "",
    ) -> Iterator[RecordedRun]:
        """The runs of a project, newest first; only those that `filter` is true of, sorted by `order`, if given.

        `-` stands for all projects of the team. `docs/filter.md` describes both:

            for run in api.runs("vision", filter='config.lr < 0.01 AND state = "finished"', order="-summary.acc"):
                print(run.name, run.config["lr"], run.summary["acc"])

        Raises ProjectNotFound; InvalidFilter, whose message points at the character that it stumbled over.
        """
        require_text(filter=filter, order=order)
        return _recorded_run.list_runs(self._connection, self._runs_of(project), filter, order)

    def best_run(
        self,
        metric: str,
        *,
        goal: str = "max",
        project: str | None = None,
        filter: str = "",  # noqa: A002 - the word that users know
    ) -> RecordedRun:
        """The run whose summary has the best value of a metric; of several with the same value, the one that began first.

        With `goal="max"` the largest value is best, with `"min"` the smallest.

        `metric` is its key (`acc`, `eval.acc`), or written as a filter writes it after `summary.`. What made it the best is its
        `best_value`, what it produced its `best_produced`:

            best = api.best_run("acc", project="vision")
            model = next(best.produced(type="model")).node.version()

        Raises RunNotFound (no run has that number), ProjectNotFound, InvalidFilter, InvalidArgument.
        """
        require_text(metric=metric, filter=filter)
        return _recorded_run.best_run(self._connection, self._runs_of(project), metric, goal, filter)

    def delete_run(
        self, run: str, *, delete_versions: bool = False, delete_aliases: bool = False, reason: str = ""
    ) -> tuple[Version, ...]:
        """Delete a run, by its id; `RecordedRun.delete` says what becomes of what it produced.

        It takes `[[team/]project/]id` or a resource name, and no display name: a slip of the pen in an id may be the name of
        another run. Raises RunNotFound, RunDeleted, InvalidName.
        """
        name = _recorded_run.parse_run(run, self._connection.project)
        found = _recorded_run.get_run(self._connection, str(name))
        return found.delete(delete_versions=delete_versions, delete_aliases=delete_aliases, reason=reason)

    def _runs_of(self, project: str | None) -> ProjectName:
        return ProjectName(self._connection.team, project or self._connection.config.project)
