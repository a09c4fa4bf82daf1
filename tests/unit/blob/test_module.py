"""Settings choose the parts, and what they cannot mean is refused at the start."""

from __future__ import annotations

from pathlib import Path

import pytest
from modelkeep.api.blob.v1 import blob_maintenance_service_pb2, blob_service_pb2
from modelkeep.errors import ServiceUnavailable
from modelkeep.names import TeamName
from modelkeep_server.blob.backends.filesystem import FilesystemBackend
from modelkeep_server.blob.backends.memory import MemoryBackend
from modelkeep_server.blob.backends.metered import MeteredBackend
from modelkeep_server.blob.backends.s3 import S3Backend
from modelkeep_server.blob.backends.verifying import VerifyingBackend
from modelkeep_server.blob.backends.wrapper import Wrapper
from modelkeep_server.blob.module import ACCESS, build, inspection, migrate, open_backend
from modelkeep_server.blob.settings import BlobSettings
from modelkeep_server.database.clock import Clock
from modelkeep_server.runtime.lifecycle import CannotStart
from modelkeep_server.runtime.wiring import Wiring
from pydantic import ValidationError

from tests.unit.blob.lenient_s3 import LenientS3, lenient_s3


@pytest.mark.parametrize(
    ("url", "kind"),
    [
        ("memory:", MemoryBackend),
        ("file:./somewhere", FilesystemBackend),
        ("file:///somewhere", FilesystemBackend),
        ("s3://bucket", S3Backend),
        ("s3://bucket/some/prefix", S3Backend),
    ],
)
async def test_the_scheme_picks_the_store(url: str, kind: type) -> None:
    backend = open_backend(BlobSettings(store_url=url))
    assert isinstance(backend, MeteredBackend)
    assert isinstance(backend.inner, VerifyingBackend)
    inner = backend.inner
    assert isinstance(inner, Wrapper)
    assert isinstance(inner.inner, kind)
    await backend.close()


@pytest.mark.parametrize("url", ["", "file:", "file://host/folder", "s3:", "s3:///x", "ftp://host", "/a/folder"])
def test_a_url_that_names_no_store(url: str) -> None:
    with pytest.raises(CannotStart, match="store_url"):
        open_backend(BlobSettings(store_url=url))


def test_a_lease_outlives_its_urls() -> None:
    """SEM-25."""
    with pytest.raises(ValidationError):
        BlobSettings(lease_seconds=600, url_seconds=601)
    BlobSettings(lease_seconds=600, url_seconds=600)


def test_secrets_are_not_shown() -> None:
    """M-SEC-1."""
    settings = BlobSettings.model_validate({"s3_secret_key": "canary"})
    assert "canary" not in repr(settings)


def test_every_rpc_has_an_access_rule() -> None:
    files = (blob_service_pb2.DESCRIPTOR, blob_maintenance_service_pb2.DESCRIPTOR)
    services = [service for file in files for service in file.services_by_name.values()]
    assert {f"/{service.full_name}/{method.name}" for service in services for method in service.methods} == ACCESS.keys()


def settings_in(folder: Path, **more: object) -> BlobSettings:
    values = {"database_url": f"sqlite:///{folder}/blob.sqlite", "store_url": f"file://{folder}/blobs", **more}
    return BlobSettings.model_validate(values)


async def test_it_is_built_checked_inspected_and_closed(tmp_path: Path, wiring: Wiring) -> None:
    settings = settings_in(tmp_path)
    await migrate(settings)
    service = await build(settings, wiring)
    await service.check()
    assert service.name == "blob"
    async with inspection(settings) as everything:
        assert [problem async for problem in everything.problems(deep=True)] == []
        assert await everything.sizes(TeamName("red"), []) == []
    await service.close()


async def test_a_store_that_is_away_is_told_at_the_start(tmp_path: Path, wiring: Wiring) -> None:
    away = settings_in(
        tmp_path, store_url="s3://models", s3_endpoint="http://127.0.0.1:9", s3_access_key="a", s3_secret_key="b"
    )
    with pytest.raises(ServiceUnavailable) as failure:
        await build(away, wiring)
    assert "127.0.0.1" not in failure.value.message


async def test_an_unsafe_store_is_refused_at_the_start(tmp_path: Path, wiring: Wiring) -> None:
    with lenient_s3(LenientS3(enforces_digest=True, obeys=frozenset(["x-amz-copy-source"]))) as store:
        unsafe = settings_in(
            tmp_path, store_url="s3://models", s3_endpoint=store.endpoint, s3_access_key="a", s3_secret_key="b"
        )
        with pytest.raises(CannotStart, match="x-amz-copy-source"):
            await build(unsafe, wiring)


@pytest.fixture
def wiring() -> Wiring:
    from modelkeep_server.runtime.channels import Channels

    async def no_token() -> str:
        return ""

    return Wiring(Channels({}, no_token), Clock())
