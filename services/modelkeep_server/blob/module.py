"""Wires the blob service: the only file that knows all of its rooms."""

from __future__ import annotations

from contextlib import asynccontextmanager
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Final
from urllib.parse import urlsplit

from modelkeep.api.blob.v1 import blob_maintenance_service_pb2_grpc as maintenance_rpc
from modelkeep.api.blob.v1 import blob_service_pb2_grpc as rpc
from modelkeep.errors import ModelkeepError

from modelkeep_server.blob.app.admission import Pending, Streams
from modelkeep_server.blob.app.check import Inspection
from modelkeep_server.blob.app.confirm import Confirmations
from modelkeep_server.blob.app.download import Downloads
from modelkeep_server.blob.app.endings import Endings
from modelkeep_server.blob.app.reap import Reaper
from modelkeep_server.blob.app.upload import Uploads
from modelkeep_server.blob.app.write import Writes
from modelkeep_server.blob.backends.filesystem import FilesystemBackend
from modelkeep_server.blob.backends.memory import MemoryBackend
from modelkeep_server.blob.backends.metered import MeteredBackend
from modelkeep_server.blob.backends.probe import UnsafeStoreError
from modelkeep_server.blob.backends.verifying import VerifyingBackend
from modelkeep_server.blob.domain import Cutting, Terms
from modelkeep_server.blob.servicer import BlobMaintenanceServicer, BlobServicer
from modelkeep_server.blob.store.index import SqlIndex
from modelkeep_server.database import migrate as migrations
from modelkeep_server.database.clock import Clock
from modelkeep_server.database.engine import Database, pool_gauges
from modelkeep_server.runtime.callers import Access
from modelkeep_server.runtime.lifecycle import CannotStart
from modelkeep_server.runtime.server import Service

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from modelkeep_server.blob.ports import Backend
    from modelkeep_server.blob.settings import BlobSettings
    from modelkeep_server.runtime.wiring import Wiring

MIGRATIONS: Final = Path(__file__).parent / "store" / "migrations"

_PUBLIC: Final = "/modelkeep.api.blob.v1.BlobService"
_MAINTENANCE: Final = "/modelkeep.api.blob.v1.BlobMaintenanceService"

ACCESS: Final = {
    f"{_PUBLIC}/GetCapabilities": Access.ANY,
    f"{_PUBLIC}/PrepareUpload": Access.WRITE,
    f"{_PUBLIC}/Write": Access.WRITE,
    f"{_PUBLIC}/CompleteUpload": Access.WRITE,
    f"{_PUBLIC}/PrepareDownload": Access.READ,
    f"{_PUBLIC}/Read": Access.READ,
    f"{_PUBLIC}/Stat": Access.READ,
    f"{_PUBLIC}/RenewLease": Access.WRITE,
    f"{_MAINTENANCE}/ConfirmChunks": Access.SERVICE,
    f"{_MAINTENANCE}/AdoptChunks": Access.SERVICE,
}
"""What each RPC needs."""


async def build(settings: BlobSettings, wiring: Wiring) -> Service:
    """The service, with its store made ready. Raises CannotStart, ServiceUnavailable."""
    backend = await _ready(open_backend(settings))
    database = Database(settings.database_url, pool_size=settings.database_pool_size)
    index = SqlIndex(database, wiring.clock)
    terms = terms_of(settings)
    reaper = Reaper(index, backend, terms)
    endings, pending = Endings(), Pending(settings.max_pending_bytes)
    uploads = Uploads(index, backend, terms, reaper, endings=endings, cutting=cutting_of(settings))
    writes = Writes(index, backend, terms, Streams(settings.max_streams), pending=pending, endings=endings)
    downloads = Downloads(index, backend, terms, Streams(settings.max_streams))
    servicer, maintenance = BlobServicer(uploads, writes, downloads), BlobMaintenanceServicer(Confirmations(index))
    reaper.soon()

    async def check() -> None:
        await index.read(lambda rows: rows.now())
        await backend.check()

    async def close() -> None:
        await endings.close()
        await reaper.close()
        await backend.close()
        await database.close()

    return Service(
        name="blob",
        servicers=(
            lambda server: rpc.add_BlobServiceServicer_to_server(servicer, server),
            lambda server: maintenance_rpc.add_BlobMaintenanceServiceServicer_to_server(maintenance, server),
        ),
        access=ACCESS,
        check=check,
        close=close,
        gauges=pool_gauges(database),
    )


async def migrate(settings: BlobSettings) -> None:
    """Bring the database to the tables that this release expects."""
    await migrations.upgrade(settings.database_url, MIGRATIONS)


@asynccontextmanager
async def inspection(settings: BlobSettings) -> AsyncIterator[Inspection]:
    """What looks at everything the service keeps, and changes nothing."""
    database, backend = Database(settings.database_url), open_backend(settings)
    try:
        yield Inspection(SqlIndex(database, Clock()), backend)
    finally:
        await backend.close()
        await database.close()


async def _ready(backend: Backend) -> Backend:
    try:
        await backend.open()
    except UnsafeStoreError as error:
        await backend.close()
        raise CannotStart(str(error)) from error
    except ModelkeepError:
        await backend.close()
        raise
    return backend


def open_backend(settings: BlobSettings) -> Backend:
    """The store that the settings name, with all that is put around it. Raises CannotStart for a URL that names none."""
    return MeteredBackend(VerifyingBackend(_backend(settings)))


def _backend(settings: BlobSettings) -> Backend:
    url = urlsplit(settings.store_url)
    match url.scheme:
        case "memory":
            return MemoryBackend()
        case "file" if url.path and not url.netloc:
            return FilesystemBackend(Path(url.path).absolute(), threads=settings.io_threads, staging=settings.staging)
        case "s3" if url.netloc:
            return _s3_backend(settings, url.netloc, url.path)
    message = f"store_url is {settings.store_url!r}; use file:./folder, file:///folder, s3://bucket/prefix or memory:"
    raise CannotStart(message)


def _s3_backend(settings: BlobSettings, bucket: str, prefix: str) -> Backend:
    from modelkeep_server.blob.backends.bucket import S3Address  # noqa: PLC0415 - loading it makes each start slower
    from modelkeep_server.blob.backends.s3 import S3Backend  # noqa: PLC0415 - as above

    address = S3Address(
        bucket=bucket,
        prefix=prefix,
        endpoint=settings.s3_endpoint,
        public_endpoint=settings.s3_public_endpoint,
        region=settings.s3_region,
        access_key=settings.s3_access_key,
        secret_key=settings.s3_secret_key.get_secret_value(),
    )
    return S3Backend(address, threads=settings.io_threads, direct=settings.s3_direct)


def terms_of(settings: BlobSettings) -> Terms:
    """How long things last, by the settings."""
    return Terms(
        lease=timedelta(seconds=settings.lease_seconds),
        url=timedelta(seconds=settings.url_seconds),
        idle=timedelta(seconds=settings.idle_seconds),
    )


def cutting_of(settings: BlobSettings) -> Cutting:
    """How clients should cut, by the settings."""
    return Cutting(
        block_bytes=settings.block_bytes,
        average_chunk_bytes=settings.average_chunk_bytes,
        pack_bytes=settings.pack_bytes,
    )
