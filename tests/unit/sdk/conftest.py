"""A small server and a connection to it."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from dataclasses import fields
from pathlib import Path

import modelkeep
import pytest
from modelkeep._cache import Cache
from modelkeep._channel import Connection
from modelkeep._entries import Spool

from tests.unit.sdk.downloads import MIB, Rig
from tests.unit.sdk.lineage import Lineage, serving
from tests.unit.sdk.store import Store
from tests.unit.sdk.wire import Wire


@pytest.fixture
def wire() -> Iterator[Wire]:
    with Wire().running() as running:
        yield running


@pytest.fixture
def connection(wire: Wire) -> Iterator[Connection]:
    made = wire.connection()
    yield made
    made.close_channels()


@pytest.fixture
def store(wire: Wire) -> Iterator[Store]:
    """A store that gives chunks by URL."""
    made = Store(wire)
    wire.blob.download_url = made.url
    yield made
    made.close()


@pytest.fixture
def nobody() -> Iterator[str]:
    """Host and port that nobody listens on, and that nobody else can take meanwhile."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        yield f"127.0.0.1:{taken.getsockname()[1]}"


@pytest.fixture
def cache(tmp_path: Path) -> Cache:
    return Cache(tmp_path / "cache", 64 * MIB)


@pytest.fixture
def entries() -> Iterator[Spool]:
    with Spool() as spool:
        yield spool


@pytest.fixture
def rig(request: pytest.FixtureRequest) -> Rig:
    return Rig(**{field.name: request.getfixturevalue(field.name) for field in fields(Rig)})


@pytest.fixture
def lineage(wire: Wire, monkeypatch: pytest.MonkeyPatch) -> Iterator[Lineage]:
    """A service that keeps runs, which a run begun without further words finds."""
    made = Lineage(wire.calls)
    with serving(made) as url:
        monkeypatch.setenv("MODELKEEP_URL", wire.url)
        monkeypatch.setenv("MODELKEEP_LINEAGE_URL", url)
        monkeypatch.setenv("MODELKEEP_API_KEY", "mk_key")
        yield made


@pytest.fixture
def run(lineage: Lineage) -> Iterator[modelkeep.Run]:
    """A run that is told to it."""
    begun = modelkeep.init("vision", name="calm-otter-1")
    yield begun
    lineage.let_through.set()
    begun.finish()
