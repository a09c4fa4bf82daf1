from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from modelkeep_server.blob.backends.filesystem import FilesystemBackend

from tests.databases import copied
from tests.unit.blob.rig import Rig, made, rig, sqlite_url


@pytest.fixture(params=["sqlite", "postgresql"])
async def database_url(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[str]:
    async with copied(request.param, tmp_path, made) as url:
        yield url


@pytest.fixture
async def blob(tmp_path: Path) -> AsyncIterator[Rig]:
    """On SQLite and a memory store."""
    async with rig(sqlite_url(tmp_path)) as service:
        yield service


@pytest.fixture
async def blob_on_disk(tmp_path: Path) -> AsyncIterator[Rig]:
    """On SQLite and a folder."""
    async with rig(sqlite_url(tmp_path), FilesystemBackend(tmp_path / "blobs")) as service:
        yield service


@pytest.fixture
async def blob_anywhere(database_url: str) -> AsyncIterator[Rig]:
    """On each database, with a memory store."""
    async with rig(database_url) as service:
        yield service
