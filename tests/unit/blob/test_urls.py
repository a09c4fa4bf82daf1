"""Uploads and downloads by URL, on a real S3 store, and what an attacker can do with a URL."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest
import urllib3
from minio import Minio
from modelkeep.digest import Digest
from modelkeep.names import LeaseName
from modelkeep_server.blob.backends.s3 import S3Backend
from modelkeep_server.blob.domain import ByStream, ByUrl, Chunk, Missing, Present, UploadResult
from modelkeep_server.runtime.callers import Access

from tests.conformance.test_blob_backends import s3_address
from tests.servers import S3, seaweedfs
from tests.unit.blob.rig import OTHER, TEAM, TERMS, Rig, caller, chunk_of, contents, parts_of, rig
from tests.unit.blob.test_reap import LATER

READER = caller(access=Access.READ)


@pytest.fixture(scope="module")
def http() -> Iterator[urllib3.PoolManager]:
    pool = urllib3.PoolManager(retries=False)
    yield pool
    pool.clear()


@pytest.fixture
def store() -> S3:
    return seaweedfs()


@pytest.fixture
async def blob(store: S3, database_url: str) -> AsyncIterator[Rig]:
    async with rig(database_url, S3Backend(s3_address(store, "models"))) as service:
        yield service


def objects(store: S3) -> list[str]:
    client: Minio = store.client()
    return [str(found.object_name) for found in client.list_objects(store.bucket, recursive=True)]


async def urls(blob: Rig, datas: list[bytes], lease: LeaseName | None = None) -> tuple[LeaseName, list[str]]:
    lease, plans = await blob.prepare(datas, lease)
    return lease, [plan.url for plan in plans if isinstance(plan, ByUrl)]


async def complete(blob: Rig, lease: LeaseName, *datas: bytes) -> list[UploadResult]:
    return await blob.uploads.complete_upload(
        lease, [Digest.of(data) for data in datas], caller(replace(TEAM, team=lease.team))
    )


async def test_up_and_down_by_url(blob: Rig, http: urllib3.PoolManager) -> None:
    datas = contents(10)
    lease, found = await urls(blob, datas)
    assert [http.request("PUT", url, body=data).status for url, data in zip(found, datas, strict=True)] == [200] * 10
    assert await blob.present(datas) == [False] * 10  # nothing between absent and live
    assert await complete(blob, lease, *datas) == [UploadResult.PUBLISHED] * 10
    assert await complete(blob, lease, *datas) == [UploadResult.PUBLISHED] * 10
    digests = [Digest.of(data) for data in [*datas, b"?"]]
    *plans, missing = await blob.downloads.prepare_download(TEAM, digests, READER)
    assert missing.source == Missing()
    for plan, data in zip(plans, datas, strict=True):
        assert isinstance(plan.source, ByUrl)
        assert http.request("GET", plan.source.url).data == data
        assert plan.size_bytes == len(data)


async def test_results_are_told_one_by_one(blob: Rig, http: urllib3.PoolManager, store: S3) -> None:
    good, unsent, unknown = contents(3)
    wrong = b"of another size"
    sized = [chunk_of(good), chunk_of(unsent), Chunk(Digest.of(wrong), len(wrong) + 1)]
    lease, plans = await blob.uploads.prepare_upload(TEAM, None, sized, caller())
    for plan, data in zip(plans, [good, None, wrong], strict=True):
        assert isinstance(plan, ByUrl)
        if data is not None:
            assert http.request("PUT", plan.url, body=data).status == 200
    assert await complete(blob, lease.name, good, unsent, unknown, wrong) == [
        UploadResult.PUBLISHED,
        UploadResult.OBJECT_MISSING,
        UploadResult.GRANT_EXPIRED,
        UploadResult.SIZE_MISMATCH,
    ]
    assert len(objects(store)) == 1  # what has another size was thrown away


async def test_a_url_never_lasts_longer_than_its_lease(blob: Rig) -> None:
    """SEM-25."""
    [data] = contents(1)
    first, plans = await blob.uploads.prepare_upload(TEAM, None, [chunk_of(data)], caller())
    [plan] = plans
    assert isinstance(plan, ByUrl)
    assert plan.expire_time == first.read_time + TERMS.url
    blob.clock.offset = TERMS.lease - timedelta(minutes=1)
    lease, plans = await blob.uploads.prepare_upload(TEAM, first.name, [chunk_of(data)], caller())
    [plan] = plans
    assert isinstance(plan, ByUrl)
    assert plan.expire_time == lease.expire_time


@pytest.mark.peer("M-UP-1")
async def test_every_url_names_a_fresh_object(blob: Rig, http: urllib3.PoolManager, store: S3) -> None:
    """RELIABILITY §2.3; whichever was used, the chunk is published, and the others leave nothing."""
    [data] = contents(1)
    lease, [first] = await urls(blob, [data])
    _, [second] = await urls(blob, [data], lease)
    assert first.partition("?")[0] != second.partition("?")[0]
    for url in (first, second):
        assert http.request("PUT", url, body=data).status == 200
    assert await complete(blob, lease, data) == [UploadResult.PUBLISHED]
    assert len(objects(store)) == 1
    assert await blob.problems() == []


async def test_a_client_that_cannot_reach_the_store_streams(blob: Rig) -> None:
    [data] = contents(1)
    lease, plans = await blob.uploads.prepare_upload(TEAM, None, [chunk_of(data)], caller(), stream_only=True)
    assert plans == [ByStream(0)]
    assert await blob.write(parts_of(lease.name, [data])) == 1
    [plan] = await blob.downloads.prepare_download(TEAM, [Digest.of(data)], READER, stream_only=True)
    assert plan.source == ByStream()
    assert await blob.read(data) == data


async def test_racing_uploads_by_url_keep_one_object(blob: Rig, http: urllib3.PoolManager, store: S3) -> None:
    [data] = contents(1)
    leases = []
    for team in (TEAM, OTHER):
        lease, [plan] = await blob.prepare([data], team=team)
        assert isinstance(plan, ByUrl)
        assert http.request("PUT", plan.url, body=data).status == 200
        leases.append((lease, plan.url))
    for lease, _ in leases:
        assert await complete(blob, lease, data) == [UploadResult.PUBLISHED]
    assert len(objects(store)) == 1
    late = leases[1][1]
    assert http.request("PUT", late, body=data).status == 200  # the loser's URL still works: its tombstone waits for that
    assert len(objects(store)) == 2
    blob.clock.offset = LATER
    await blob.reaper.reap()
    assert len(objects(store)) == 1
    assert await blob.read(data) == await blob.read(data, OTHER) == data


@pytest.mark.peer("M-URL-1")
async def test_what_an_attacker_can_do_with_a_url(blob: Rig, http: urllib3.PoolManager, store: S3) -> None:
    """Other content, method, key, length or query: refused, before and after the commit."""
    [data, other] = contents(2)
    lease, [url] = await urls(blob, [data])
    path, _, query = url.partition("?")

    def attack() -> dict[str, int]:
        attempts = {
            "other content": http.request("PUT", url, body=other),
            "shorter": http.request("PUT", url, body=data[:-1]),
            "longer": http.request("PUT", url, body=data + b"!"),
            "empty": http.request("PUT", url, body=b""),
            "GET": http.request("GET", url),
            "DELETE": http.request("DELETE", url),
            "POST": http.request("POST", url, body=data),
            "other key": http.request("PUT", f"{path[:-1]}x?{query}", body=data),
            "key above": http.request("PUT", f"{path}/../x?{query}", body=data),
            "no digest": http.request("PUT", f"{path}?{query.partition('&')[2]}", body=other),
            "later expiry": http.request("PUT", url.replace("X-Amz-Expires=9", "X-Amz-Expires=99"), body=data),
            "no signature": http.request("PUT", path, body=data),
            "acl": http.request("PUT", f"{url}&acl", body=data),
            "tagging": http.request("PUT", f"{url}&tagging", body=data),
            "multipart": http.request("POST", f"{url}&uploads"),
            "copy": http.request("PUT", url, headers={"x-amz-copy-source": f"/{store.bucket}/models/x"}),
            "public": http.request("PUT", url, body=data, headers={"x-amz-acl": "public-read"}),
        }
        return {name: response.status for name, response in attempts.items() if response.status < 400}

    assert attack() == {}
    assert objects(store) == []
    assert http.request("PUT", url, body=data).status == 200
    assert attack() == {}
    assert await complete(blob, lease, data) == [UploadResult.PUBLISHED]
    assert attack() == {}
    assert http.request("PUT", url, body=data).status == 200  # harmless: the same bytes
    assert await blob.read(data) == data
    assert len(objects(store)) == 1


@pytest.mark.peer("M-URL-1")
async def test_a_url_that_has_ended_is_refused(store: S3, tmp_path: Path, http: urllib3.PoolManager) -> None:
    from tests.unit.blob.rig import sqlite_url

    terms = replace(TERMS, url=timedelta(seconds=1))
    async with rig(sqlite_url(tmp_path), S3Backend(s3_address(store)), terms=terms) as blob:
        [data] = contents(1)
        _, [url] = await urls(blob, [data])
        statuses = [http.request("PUT", url, body=b"?").status]
        while statuses[-1] == 400:  # wrong content, by a URL that still lasts
            statuses.append(http.request("PUT", url, body=b"?").status)
        assert statuses[-1] == 403
        assert http.request("PUT", url, body=data).status == 403


async def test_nothing_shows_a_signature(blob: Rig) -> None:
    """M-SEC-1."""
    _, plans = await blob.prepare(contents(1))
    assert "Signature" not in repr(plans)
    assert plans != [Present()]
