"""A store that throttles: callers wait a little, and are then told to come back, never that something broke."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
import urllib3
from modelkeep.digest import Digest
from modelkeep.errors import ServiceUnavailable, TooBusy
from modelkeep.names import LeaseName
from modelkeep_server.blob.backends.s3 import S3Backend
from modelkeep_server.blob.domain import ByUrl, UploadResult

from tests.unit.blob.lenient_s3 import LenientS3, lenient_s3
from tests.unit.blob.rig import TEAM, Rig, caller, chunk_of, contents, parts_of, rig, sqlite_url
from tests.unit.blob.test_probe import address_of
from tests.unit.blob.test_reap import LATER

FOR_EVER = 1_000_000
PUBLISHED = UploadResult.PUBLISHED


@pytest.fixture
def store() -> Iterator[LenientS3]:
    with lenient_s3(LenientS3(enforces_digest=True)) as served:
        yield served


@pytest.fixture
async def blob(store: LenientS3, tmp_path: Path) -> AsyncIterator[Rig]:
    async with rig(sqlite_url(tmp_path), S3Backend(address_of(store), backoff_seconds=0.01)) as service:
        await service.prepare([])
        yield service
        store.busy = 0


def put(url: str, data: bytes) -> None:
    assert urllib3.request("PUT", url, body=data).status == 200


async def send(blob: Rig, *datas: bytes) -> LeaseName:
    """Bring chunks to the store, each by every URL that was asked for; not yet published."""
    lease, plans = await blob.prepare(datas)
    for plan, data in zip(plans, datas, strict=True):
        assert isinstance(plan, ByUrl)
        put(plan.url, data)
    return lease


async def complete(blob: Rig, lease: LeaseName, data: bytes) -> list[UploadResult]:
    return await blob.uploads.complete_upload(lease, [Digest.of(data)], caller())


async def ask_to_stream(blob: Rig, lease: LeaseName, data: bytes) -> None:
    await blob.uploads.prepare_upload(TEAM, lease, [chunk_of(data)], caller(), stream_only=True)


async def test_a_store_that_is_busy_for_a_moment_is_asked_again(blob: Rig, store: LenientS3) -> None:
    [data, streamed] = contents(2)
    lease = await send(blob, data)
    store.busy = 2
    assert await complete(blob, lease, data) == [PUBLISHED]
    store.busy = 2
    assert await blob.read(data) == data
    await ask_to_stream(blob, lease, streamed)
    store.busy = 2
    assert await blob.write(parts_of(lease, [streamed])) == 1
    assert store.busy == 0


XML = b"<Error><Code>SlowDown</Code></Error>"
WORDS: dict[str, tuple[int, bytes, dict[str, str], int]] = {
    "xml": (503, XML, {}, 5),
    "its own time": (503, XML, {"Retry-After": "7"}, 7),
    "an absurd time": (429, b"<Error><Code>TooManyRequests</Code></Error>", {"Retry-After": "86400"}, 60),
    "plain text": (503, b"slow down", {"Content-Type": "text/plain"}, 5),
    "nothing": (503, b"", {}, 5),
}


@pytest.mark.parametrize("words", WORDS)
async def test_a_store_that_stays_busy_is_told_as_such(blob: Rig, store: LenientS3, words: str) -> None:
    """Whatever its words are: TOO_BUSY with a time to wait, nothing is lost, and the same call succeeds later."""
    [data, streamed] = contents(2)
    lease = await send(blob, data)
    await ask_to_stream(blob, lease, streamed)
    store.busy_status, store.busy_body, store.busy_headers, seconds = WORDS[words]
    store.busy = FOR_EVER
    calls = [complete(blob, lease, data), blob.write(parts_of(lease, [streamed]))]
    errors = await asyncio.gather(*calls, return_exceptions=True)
    assert [type(error) for error in errors] == [TooBusy] * 2
    store.busy = 0
    assert await complete(blob, lease, data) == [PUBLISHED]
    assert await blob.write(parts_of(lease, [streamed])) == 1
    store.busy = FOR_EVER
    with pytest.raises(TooBusy) as failure:
        await blob.read(data)
    assert failure.value.metadata["retry_after_seconds"] == str(seconds)


async def test_what_cannot_be_deleted_now_is_deleted_later(blob: Rig, store: LenientS3) -> None:
    [data] = contents(1)
    first = await send(blob, data)
    second = await send(blob, data)
    assert await complete(blob, first, data) == [PUBLISHED]
    store.busy, store.busy_on = FOR_EVER, "POST"  # a deletion of many
    assert await complete(blob, second, data) == [PUBLISHED]
    assert len(store.objects) == 2
    store.busy = 0
    blob.clock.offset = LATER
    await blob.reaper.reap()
    assert list(store.objects.values()) == [data]


@pytest.mark.parametrize("body", [b"<Error><Code>", b"\xff\xfe", b"<Error/>"], ids=["cut", "no text", "empty"])
async def test_a_store_that_answers_nonsense_is_unavailable(blob: Rig, store: LenientS3, body: bytes) -> None:
    [data] = contents(1)
    assert await complete(blob, await send(blob, data), data) == [PUBLISHED]
    store.busy, store.busy_status, store.busy_body = FOR_EVER, 500, body
    with pytest.raises(ServiceUnavailable):
        await blob.read(data)
