"""Wires the metadata service: the only file that knows all of its rooms."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from datetime import timedelta
from pathlib import Path
from typing import Final

from modelkeep.api.metadata.v1 import metadata_maintenance_service_pb2_grpc as maintenance_rpc
from modelkeep.api.metadata.v1 import metadata_service_pb2_grpc as rpc
from modelkeep.names import TeamName

from modelkeep_server.database import migrate as migrations
from modelkeep_server.database.clock import Clock
from modelkeep_server.database.engine import Database, pool_gauges
from modelkeep_server.filtering.searches import Searches
from modelkeep_server.metadata.app.alias import AliasApp
from modelkeep_server.metadata.app.check import Inspection, Sizes
from modelkeep_server.metadata.app.collection import CollectionApp
from modelkeep_server.metadata.app.commit import CommitApp
from modelkeep_server.metadata.app.copying import CopyApp
from modelkeep_server.metadata.app.draft import DraftApp
from modelkeep_server.metadata.app.entry import EntryApp
from modelkeep_server.metadata.app.event import EventApp
from modelkeep_server.metadata.app.key import KeyApp, issue_embedded_key, issue_key, issue_service_key
from modelkeep_server.metadata.app.project import ProjectApp
from modelkeep_server.metadata.app.remove import RemovalApp
from modelkeep_server.metadata.app.resolution import ResolutionApp
from modelkeep_server.metadata.app.rule import RuleApp
from modelkeep_server.metadata.app.signature import SignatureApp
from modelkeep_server.metadata.app.team import TeamApp
from modelkeep_server.metadata.app.use import UseApp
from modelkeep_server.metadata.app.version import VersionApp
from modelkeep_server.metadata.app.watch import WatchApp
from modelkeep_server.metadata.domain.key import KeyRole, KeyWish
from modelkeep_server.metadata.domain.limits import Limits
from modelkeep_server.metadata.domain.problem import Problem
from modelkeep_server.metadata.domain.watch import Pace
from modelkeep_server.metadata.peers import BlobChunks
from modelkeep_server.metadata.ports.chunks import Chunks
from modelkeep_server.metadata.ports.signer import Signer
from modelkeep_server.metadata.ports.transactions import Transactions
from modelkeep_server.metadata.servicer import MetadataServicer
from modelkeep_server.metadata.servicer.access import ACCESS, WATCHES
from modelkeep_server.metadata.servicer.base import Apps
from modelkeep_server.metadata.servicer.event import MetadataMaintenanceServicer
from modelkeep_server.metadata.settings import MetadataSettings
from modelkeep_server.metadata.store.unit_of_work import SqlTransactions
from modelkeep_server.runtime.callers import Role
from modelkeep_server.runtime.lifecycle import CannotStart
from modelkeep_server.runtime.server import Service
from modelkeep_server.runtime.wiring import Wiring

MIGRATIONS: Final = Path(__file__).parent / "store" / "migrations"

EMBEDDED_TEAM: Final = "default"
"""The team of whoever runs everything in one process."""


async def build(settings: MetadataSettings, wiring: Wiring) -> Service:
    """The service. Raises CannotStart."""
    if wiring.signer is None:
        message = (
            "metadata signs the access tokens of all services; give it signing_key_file (modelkeep-server signing-key init)"
        )
        raise CannotStart(message)
    database = Database(settings.database_url, pool_size=settings.database_pool_size)
    transactions = SqlTransactions(database, wiring.clock)
    watches = WatchApp(transactions, Pace(tick_seconds=settings.watch_seconds, max_watches=settings.max_watches))
    transactions.on_events = watches.poke
    apps = apps_of(transactions, BlobChunks(wiring.channels.to("blob")), wiring.signer, limits_of(settings), watches)
    servicer, maintenance = MetadataServicer(apps), MetadataMaintenanceServicer(apps)

    async def check() -> None:
        await transactions.read(lambda work: work.now())

    async def close() -> None:
        await watches.close()
        await database.close()

    return Service(
        name="metadata",
        servicers=(
            lambda server: rpc.add_MetadataServiceServicer_to_server(servicer, server),
            lambda server: maintenance_rpc.add_MetadataMaintenanceServiceServicer_to_server(maintenance, server),
        ),
        access=ACCESS,
        check=check,
        close=close,
        watches=WATCHES,
        hush=watches.hush,
        gauges={**pool_gauges(database), "watches": watches.watching},
    )


def apps_of(transactions: Transactions, chunks: Chunks, signer: Signer, limits: Limits, watches: WatchApp) -> Apps:
    """All use cases over one database."""
    searches = Searches(limits.max_searches)
    return Apps(
        limits=limits,
        keys=KeyApp(transactions, signer),
        teams=TeamApp(transactions),
        projects=ProjectApp(transactions),
        collections=CollectionApp(transactions, searches),
        drafts=DraftApp(transactions, limits),
        removals=RemovalApp(transactions, limits),
        commits=CommitApp(transactions, chunks, limits),
        copies=CopyApp(transactions, chunks, limits),
        versions=VersionApp(transactions, limits, searches),
        entries=EntryApp(transactions),
        aliases=AliasApp(transactions, limits.max_aliases),
        rules=RuleApp(transactions),
        resolution=ResolutionApp(transactions),
        uses=UseApp(transactions),
        events=EventApp(transactions),
        watches=watches,
        signatures=SignatureApp(transactions, limits.max_signatures),
    )


def limits_of(settings: MetadataSettings) -> Limits:
    """How much, and how long, by the settings."""
    return Limits(
        draft_lifetime=timedelta(hours=settings.draft_hours),
        restore_period=timedelta(days=settings.restore_days),
        max_entries=settings.max_entries,
        max_entries_per_message=settings.max_entries_per_message,
        max_segments_per_message=settings.max_segments_per_message,
        max_aliases=settings.max_aliases,
        max_tags=settings.max_tags,
        max_signatures=settings.max_signatures,
        max_searches=max(1, settings.database_pool_size // 2),
    )


async def migrate(settings: MetadataSettings) -> None:
    """Bring the database to the tables that this release expects."""
    await migrations.upgrade(settings.database_url, MIGRATIONS)


async def fsck(settings: MetadataSettings, sizes: Sizes) -> AsyncIterator[Problem]:
    """All problems of the database; `sizes` says what blob has of the chunks that its versions name."""
    async with _operator(settings) as transactions:
        async for problem in Inspection(transactions, sizes).problems():
            yield problem


async def create_key(
    settings: MetadataSettings,
    team: str,
    *,
    role: Role = Role.ADMIN,
    readable_teams: Sequence[str] = (),
    lifetime: timedelta | None = None,
    display_name: str = "",
) -> str:
    """The secret of a new key of a team, for the operator of the server; the team is made if it is missing.

    Raises InvalidName, TeamNotFound for a readable team, LimitExceeded, ServiceUnavailable.
    """
    readable = tuple(TeamName(readable) for readable in sorted(set(readable_teams)))
    wish = KeyWish(KeyRole[role.name], readable, display_name)
    async with _operator(settings) as transactions:
        return await issue_key(transactions, TeamName(team), wish, lifetime)


async def create_service_key(settings: MetadataSettings, service: str) -> str:
    """The secret of a new key of a service, for the operator of the server. Raises InvalidName, ServiceUnavailable."""
    async with _operator(settings) as transactions:
        return await issue_service_key(transactions, service)


async def embedded_key(settings: MetadataSettings) -> str:
    """The secret of the embedded server's admin key; the one that an earlier start got ends. Raises ServiceUnavailable."""
    async with _operator(settings) as transactions:
        return await issue_embedded_key(transactions, TeamName(EMBEDDED_TEAM))


@asynccontextmanager
async def _operator(settings: MetadataSettings) -> AsyncIterator[SqlTransactions]:
    """Transactions for whoever has the database itself, and therefore needs no key."""
    database = Database(settings.database_url, pool_size=1)
    try:
        yield SqlTransactions(database, Clock())
    finally:
        await database.close()
