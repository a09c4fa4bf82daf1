"""Metrics: keep and list what runs measured."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from modelkeep.errors import LimitExceeded
from modelkeep.names import RunName

from modelkeep_server.database.paging import Listing, Page
from modelkeep_server.lineage.domain.limits import Limits
from modelkeep_server.lineage.domain.metric import Measured, Metric, Point, progress, require_room
from modelkeep_server.lineage.domain.values import encode_object
from modelkeep_server.lineage.ports.transactions import Transactions, Work
from modelkeep_server.runtime.callers import Caller
from modelkeep_server.runtime.calls import Call


class MetricApp:
    """The use cases of metrics."""

    def __init__(self, transactions: Transactions, limits: Limits) -> None:
        self._transactions = transactions
        self._limits = limits

    async def log_metrics(self, call: Call, name: RunName, measured: Measured) -> None:
        """Keep points, definitions and values of the summary, all or nothing; it counts as a heartbeat.

        The summary is worked out here, with the run held, so that two processes that write to one run, and one that resumes it,
        see what the other left. Raises RunNotFound, RunDeleted, RunNotRunning, LimitExceeded.
        """
        call.caller.require(name.team)
        self._require_points(measured)

        async def step(work: Work) -> bool:
            run = await work.runs.lock(name)
            run.require_running()
            known = await work.metrics.some(run, measured.keys)
            new = len(measured.keys) - len(known)
            require_room(run.metric_count, new, self._limits.max_metrics)
            made = progress(known, measured, run.metric_count)
            summary = self._summary(run.summary_json, made.values) if made.values else run.summary_json
            await work.metrics.keep(run, made.metrics, made.batches)
            await work.runs.progress(run, summary, run.metric_count + new)
            return True

        await self._transactions.once(call, bool, step)

    async def list_metrics(self, caller: Caller, run: RunName, page: Page) -> Listing[Metric]:
        """The metrics of a run by key. Raises RunNotFound, RunDeleted, InvalidPageToken."""
        caller.require(run.team)
        return await self._transactions.read(lambda work: work.metrics.list(run, page))

    async def list_metric_points(self, caller: Caller, run: RunName, key: str, page: Page) -> Listing[Point]:
        """The points of a metric in the order in which they came.

        Raises RunNotFound, RunDeleted, MetricNotFound, InvalidPageToken.
        """
        caller.require(run.team)
        return await self._transactions.read(lambda work: work.metrics.points(run, key, page))

    def _summary(self, before: str, changes: Mapping[str, Any]) -> str:
        """The summary after changes, of which None takes a key away."""
        summary = json.loads(before) | dict(changes)
        kept = {key: value for key, value in summary.items() if value is not None or key not in changes}
        return encode_object(kept, "summary", self._limits.max_json_bytes)

    def _require_points(self, measured: Measured) -> None:
        count, most = sum(len(one.values) for one in measured.series), self._limits.max_points
        if count > most:
            message = f"the call has {count:,} points; at most {most:,} go into one: send the rest in further calls"
            raise LimitExceeded(message, field="series", limit=most)
