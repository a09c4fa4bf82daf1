"""Wires the lineage service: the only file that knows all of its rooms."""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import timedelta
from pathlib import Path
from typing import Final

from modelkeep.api.lineage.v1 import lineage_service_pb2_grpc as rpc

from modelkeep_server.database import migrate as migrations
from modelkeep_server.database.clock import Clock
from modelkeep_server.database.engine import Database, pool_gauges
from modelkeep_server.filtering.searches import Searches
from modelkeep_server.lineage.app.best import BestApp, GraphProductions
from modelkeep_server.lineage.app.check import problems
from modelkeep_server.lineage.app.graph import GraphApp
from modelkeep_server.lineage.app.graph_base import Questions
from modelkeep_server.lineage.app.graph_fresh import Freshness
from modelkeep_server.lineage.app.graph_tail import Tail
from modelkeep_server.lineage.app.metric import MetricApp
from modelkeep_server.lineage.app.run import RunApp
from modelkeep_server.lineage.domain.limits import Limits
from modelkeep_server.lineage.domain.problem import Problem
from modelkeep_server.lineage.peers import MetadataLogs, MetadataProjects
from modelkeep_server.lineage.servicer import LineageServicer
from modelkeep_server.lineage.servicer.access import ACCESS
from modelkeep_server.lineage.servicer.base import Apps
from modelkeep_server.lineage.settings import LineageSettings
from modelkeep_server.lineage.store.graph_log import SqlGraphLog
from modelkeep_server.lineage.store.graph_read import SqlGraph
from modelkeep_server.lineage.store.unit_of_work import SqlTransactions
from modelkeep_server.runtime.server import Service
from modelkeep_server.runtime.wiring import Wiring

MIGRATIONS: Final = Path(__file__).parent / "store" / "migrations"


async def build(settings: LineageSettings, wiring: Wiring) -> Service:
    """The service."""
    database = Database(settings.database_url, pool_size=settings.database_pool_size)
    limits = limits_of(settings)
    transactions = SqlTransactions(database, wiring.clock, limits.heartbeat_timeout)
    metadata = wiring.channels.to("metadata")
    projects, logs, graph = MetadataProjects(metadata), MetadataLogs(metadata), SqlGraph(database)
    graph_log = SqlGraphLog(database, wiring.clock)
    if database.is_sqlite:
        await graph_log.evict()  # one process serves a file: who owned the graph was killed, and its lease would be waited for
    tail = Tail(logs, graph_log, settings.tail_seconds)
    questions = GraphApp(Questions(graph, Freshness(logs, graph, tail, settings.fresh_seconds), limits))
    searches = Searches(limits.max_searches)
    apps = Apps(
        limits=limits,
        runs=RunApp(transactions, projects, limits, searches),
        metrics=MetricApp(transactions, limits),
        best=BestApp(transactions, projects, GraphProductions(questions), searches),
        graph=questions,
    )
    servicer = LineageServicer(apps)
    tail.start()

    async def check() -> None:
        await transactions.read(lambda work: work.now())

    async def close() -> None:
        await tail.close()
        await database.close()

    return Service(
        name="lineage",
        servicers=(lambda server: rpc.add_LineageServiceServicer_to_server(servicer, server),),
        access=ACCESS,
        check=check,
        close=close,
        hush=tail.drain,
        gauges=pool_gauges(database),
    )


def limits_of(settings: LineageSettings) -> Limits:
    """How much, and how long, by the settings."""
    return Limits(
        heartbeat_timeout=timedelta(seconds=settings.heartbeat_seconds),
        max_json_bytes=settings.max_json_bytes,
        max_points=settings.max_points,
        max_metrics=settings.max_metrics,
        max_tags=settings.max_tags,
        max_nodes=settings.max_nodes,
        max_walked=settings.max_walked,
        max_walks=settings.max_walks,
        max_searches=max(1, settings.database_pool_size // 2),
    )


async def migrate(settings: LineageSettings) -> None:
    """Bring the database to the tables that this release expects."""
    await migrations.upgrade(settings.database_url, MIGRATIONS)


async def reread(settings: LineageSettings) -> None:
    """Have the events of metadata read again from their beginnings: what is missing in the graph comes."""
    database = Database(settings.database_url, pool_size=1)
    try:
        await SqlGraphLog(database, Clock()).forget()
    finally:
        await database.close()


async def fsck(settings: LineageSettings) -> AsyncIterator[Problem]:
    """All problems of the database."""
    database = Database(settings.database_url, pool_size=1)
    try:
        async for problem in problems(SqlTransactions(database, Clock())):
            yield problem
    finally:
        await database.close()
