"""The suite of `blob_backends.py` on every backend and wrapper."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from modelkeep_server.blob.backends.bucket import S3Address
from modelkeep_server.blob.backends.filesystem import FilesystemBackend
from modelkeep_server.blob.backends.memory import MemoryBackend
from modelkeep_server.blob.backends.metered import MeteredBackend
from modelkeep_server.blob.backends.s3 import S3Backend
from modelkeep_server.blob.backends.verifying import VerifyingBackend
from modelkeep_server.blob.ports import Backend

from tests.conformance.blob_backends import BackendSuite, leases, objects
from tests.servers import S3, seaweedfs


def s3_address(store: S3, prefix: str = "") -> S3Address:
    return S3Address(store.bucket, prefix, f"http://{store.endpoint}", "", "us-east-1", store.access_key, store.secret_key)


def files(folder: Path) -> list[Path]:
    return [path for path in folder.rglob("*") if path.is_file()]


async def opened(backend: Backend) -> AsyncIterator[Backend]:
    """The backend, checked to be empty after the test."""
    await backend.open()
    yield backend
    assert await objects(backend) == {}, "the test left objects behind"
    assert await leases(backend) == set(), "the test left temporary files behind"
    await backend.close()


class TestMemory(BackendSuite):
    @pytest.fixture
    async def backend(self) -> AsyncIterator[Backend]:
        async for backend in opened(MemoryBackend()):
            yield backend


class TestFilesystem(BackendSuite):
    @pytest.fixture
    async def backend(self, tmp_path: Path) -> AsyncIterator[Backend]:
        async for backend in opened(FilesystemBackend(tmp_path / "a" / "b")):
            yield backend
        assert files(tmp_path) == []


class TestS3(BackendSuite):
    @pytest.fixture(params=["", "some/prefix"])
    async def backend(self, request: pytest.FixtureRequest) -> AsyncIterator[Backend]:
        store = seaweedfs()
        async for backend in opened(S3Backend(s3_address(store, request.param))):
            assert backend.direct_upload
            yield backend
        assert list(store.client().list_objects(store.bucket, recursive=True)) == []


class TestS3Careful(BackendSuite):
    """A store that clients are not sent to."""

    @pytest.fixture
    async def backend(self) -> AsyncIterator[Backend]:
        async for backend in opened(S3Backend(s3_address(seaweedfs()), direct=False)):
            assert not backend.direct_upload
            yield backend


class TestVerifyingMemory(BackendSuite):
    @pytest.fixture
    async def backend(self) -> AsyncIterator[Backend]:
        async for backend in opened(VerifyingBackend(MemoryBackend())):
            yield backend


class TestMeteredVerifyingFilesystem(BackendSuite):
    @pytest.fixture
    async def backend(self, tmp_path: Path) -> AsyncIterator[Backend]:
        async for backend in opened(MeteredBackend(VerifyingBackend(FilesystemBackend(tmp_path)))):
            yield backend
