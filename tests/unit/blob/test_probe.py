"""A store must prove at start that it enforces what was signed (DESIGN §2)."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from modelkeep_server.blob.backends.bucket import Bucket, S3Address
from modelkeep_server.blob.backends.probe import Probe, UnsafeStoreError, crc
from modelkeep_server.blob.backends.s3 import S3Backend

from tests.conformance.test_blob_backends import s3_address
from tests.servers import seaweedfs
from tests.unit.blob.lenient_s3 import LenientS3, lenient_s3
from tests.unit.blob.rig import contents, rig, sqlite_url

CHECKSUMS = [f"x-amz-checksum-{name}" for name in ("sha256", "sha1", "crc32", "crc32c", "crc64nvme")]
UNSIGNED = ["x-amz-copy-source", "x-amz-trailer", "x-amz-content-sha256", "content-md5", *CHECKSUMS]
OBEDIENT = [LenientS3(enforces_digest=True, obeys=frozenset([header])) for header in UNSIGNED]


def address_of(store: LenientS3) -> S3Address:
    return S3Address("models", "", store.endpoint, "", "us-east-1", "access", "secret")


@pytest.fixture
def store(request: pytest.FixtureRequest) -> Iterator[LenientS3]:
    with lenient_s3(request.param) as served:
        yield served


def test_the_checksums_that_attacks_are_made_with_are_right() -> None:
    """By the check values that are published with the algorithms: a wrong one would be refused for being wrong."""
    assert crc(b"123456789", 0x82F63B78, 32).hex() == "e3069283"
    assert crc(b"123456789", 0x9A6C9329AC4BC9B5, 64).hex() == "ae8b14860a799888"


def test_seaweedfs_enforces_the_digest() -> None:
    server = seaweedfs()
    bucket = Bucket(s3_address(server, "p"), connections=1)
    assert Probe(bucket).enforces_digest()
    assert list(server.client().list_objects(server.bucket, recursive=True)) == []
    bucket.close()


@pytest.mark.parametrize("store", [LenientS3()], indirect=True)
async def test_a_store_that_enforces_nothing_gets_no_uploads_by_url(store: LenientS3, tmp_path: Path) -> None:
    """Careful mode: uploads come through the service, hashed on the way; downloads may be direct."""
    backend = S3Backend(address_of(store))
    async with rig(sqlite_url(tmp_path), backend) as blob:
        assert (backend.direct_upload, backend.direct_download) == (False, True)
        assert store.objects == {}, "the probe left objects behind"
        datas = contents(3)
        await blob.upload(datas)
        assert [await blob.read(data) for data in datas] == datas
        assert sorted(store.objects.values()) == sorted(datas)


@pytest.mark.peer("M-URL-2")
@pytest.mark.parametrize("store", OBEDIENT, indirect=True, ids=lambda store: next(iter(store.obeys)))
async def test_a_store_that_obeys_unsigned_headers_is_refused(store: LenientS3) -> None:
    backend = S3Backend(address_of(store))
    with pytest.raises(UnsafeStoreError, match="s3_direct = false"):
        await backend.open()
    assert store.objects == {}, "the probe left objects behind"
    await backend.close()
    careful = S3Backend(address_of(store), direct=False)
    await careful.open()
    assert not careful.direct_upload
    await careful.close()


@pytest.mark.parametrize("store", [LenientS3(enforces_digest=True)], indirect=True)
async def test_a_store_that_enforces_is_trusted(store: LenientS3) -> None:
    backend = S3Backend(address_of(store))
    await backend.open()
    assert backend.direct_upload
    assert store.refused > 0
    await backend.close()
