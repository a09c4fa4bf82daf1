"""Services on a server, from the first lock to the last connection: one of them or all, by the same code."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import structlog
from modelkeep.errors import ServiceUnavailable
from sqlalchemy.engine import URL, make_url

from modelkeep_server.blob import module as blob
from modelkeep_server.database.clock import Clock
from modelkeep_server.lineage import module as lineage
from modelkeep_server.metadata import module as metadata
from modelkeep_server.runtime import signing_keys
from modelkeep_server.runtime.channels import Channels, TokenSource, connect, exchanged_tokens, signed_tokens
from modelkeep_server.runtime.lifecycle import CannotStart, FolderLock, refuse_network_file_system
from modelkeep_server.runtime.listening import Address, peer_credentials, refuse_exposure, server_credentials
from modelkeep_server.runtime.metrics import Metrics, MetricsServer
from modelkeep_server.runtime.server import Server, Service
from modelkeep_server.runtime.settings import RuntimeSettings
from modelkeep_server.runtime.tokens import Signer
from modelkeep_server.runtime.wiring import Wiring
from modelkeep_server.settings import Layer, Settings

log = structlog.get_logger()


@dataclass(frozen=True)
class Part:
    """A service, as this process may run it. Each function takes the settings of its service."""

    build: Callable[[Any, Wiring], Awaitable[Service]]
    migrate: Callable[[Any], Awaitable[None]]


PARTS: Final[Mapping[str, Part]] = {
    "blob": Part(blob.build, blob.migrate),
    "metadata": Part(metadata.build, metadata.migrate),
    "lineage": Part(lineage.build, lineage.migrate),
}
"""Every service by its name, in the order of their calls: each calls only those before it."""

WHOLE: Final[Layer] = {"runtime": {"metrics_port": 0}}
"""The defaults of `serve all`, where they differ."""


async def migrate(settings: Settings, names: Sequence[str]) -> None:
    """Bring the databases of services up to date. Raises MigrationError, CannotStart."""
    for name in names:
        _refuse_network_file_system(settings, name)
        try:
            await PARTS[name].migrate(getattr(settings, name))
        except ServiceUnavailable as error:
            raise CannotStart(f"{name} at {_database(settings, name).render_as_string()}: {error.message}") from error


@asynccontextmanager
async def serving(settings: Settings, names: Sequence[str]) -> AsyncIterator[str]:
    """Run services on one server, from entry to exit; gives the URL. Leaving it drains the server.

    All services together make what they need: the signing key and their tables. Raises CannotStart, MigrationError.
    """
    runtime = settings.runtime
    is_whole = set(names) == set(PARTS)
    refuse_exposure(runtime)  # before anything is made
    server_credentials(runtime)
    async with AsyncExitStack() as stack:
        for name in names:
            _refuse_network_file_system(settings, name)
        locks = [stack.enter_context(FolderLock(runtime.data_dir, name)) for name in names if _keeps_files(settings, name)]
        if is_whole:
            signing_keys.ensure(runtime.signing_key_file, runtime.public_key_files[0])
            await migrate(settings, names)
        signer = _signer(runtime, names)
        metrics = Metrics()
        server = Server(runtime, signing_keys.verifier(runtime.public_key_files), metrics)
        url = server.bind()
        peers = await stack.enter_async_context(AsyncExitStack())  # closed after the drain: calls under way still need them
        stack.push_async_callback(server.drain)
        own = url if url.startswith("grpc://") and Address.parse(runtime.listen).is_local else server.bind_loopback()
        channels = await _channels(peers, settings, dict.fromkeys(names, own), signer)
        for name in names:
            server.mount(await PARTS[name].build(getattr(settings, name), Wiring(channels, Clock(), signer)))
        _serve_metrics(stack, runtime, metrics)
        await server.start()
        for lock in locks:
            lock.say(url)
        log.info("serving", url=url, services=list(names))
        yield url
        log.info("draining", seconds=runtime.drain_seconds)


def _signer(runtime: RuntimeSettings, names: Sequence[str]) -> Signer | None:
    if "metadata" not in names:
        return None
    return signing_keys.signer(runtime.signing_key_file, lifetime_seconds=runtime.token_seconds)


async def _channels(stack: AsyncExitStack, settings: Settings, own: Mapping[str, str], signer: Signer | None) -> Channels:
    runtime = settings.runtime
    urls = {"blob": runtime.blob_url, "metadata": runtime.metadata_url, "lineage": runtime.lineage_url, **own}
    credentials = peer_credentials(runtime)
    tokens: TokenSource = _no_tokens
    if signer:
        tokens = signed_tokens(signer, "metadata")
    elif runtime.service_key:
        to_metadata = connect(urls["metadata"], credentials)
        stack.push_async_callback(to_metadata.close)
        tokens = exchanged_tokens(runtime.service_key.get_secret_value(), to_metadata)
    channels = Channels(urls, tokens, credentials=credentials, deadline_seconds=runtime.peer_call_seconds)
    stack.push_async_callback(channels.close)
    return channels


async def _no_tokens() -> str:
    raise ServiceUnavailable("this service has no key of its own to call others with; set runtime.service_key")


def _serve_metrics(stack: AsyncExitStack, runtime: RuntimeSettings, metrics: Metrics) -> None:
    if not runtime.metrics_port:
        return
    try:
        stack.callback(MetricsServer(metrics, runtime.metrics_host, runtime.metrics_port).close)
    except OSError as error:
        address = f"{runtime.metrics_host}:{runtime.metrics_port}"
        message = f"cannot serve metrics on {address}: {error.strerror}; set runtime.metrics_port to another one, or to 0"
        raise CannotStart(message) from error


def _keeps_files(settings: Settings, name: str) -> bool:
    """Whether a service keeps anything on this machine's disk."""
    section = getattr(settings, name)
    urls = (section.database_url, getattr(section, "store_url", ""))
    return any(url.startswith(("sqlite:", "file:")) for url in urls)


def _refuse_network_file_system(settings: Settings, name: str) -> None:
    url = _database(settings, name)
    if url.get_backend_name() == "sqlite" and url.database:
        refuse_network_file_system(Path(url.database))


def _database(settings: Settings, name: str) -> URL:
    return make_url(getattr(settings, name).database_url)


@dataclass(frozen=True)
class Finding:
    """Something that a check of the services found."""

    text: str
    is_broken: bool
    """False for what only takes space: the next start of the server removes it, or a collection does."""


async def findings(settings: Settings, *, deep: bool) -> AsyncIterator[Finding]:
    """What is not as it should be in what the services keep; with `deep` every stored chunk is read and hashed."""
    async with blob.inspection(settings.blob) as chunks:
        async for problem in chunks.problems(deep=deep):
            yield Finding(f"blob: {problem.kind}: {problem.what}: {problem.detail}", problem.breaks_invariant)
        async for fault in metadata.fsck(settings.metadata, chunks.sizes):
            yield Finding(f"metadata: {fault.kind}: {fault.what}: {fault.detail}", is_broken=True)
    async for found in lineage.fsck(settings.lineage):
        yield Finding(f"lineage: {found.kind}: {found.what}: {found.detail}", found.breaks_invariant)
