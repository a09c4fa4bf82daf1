"""Chunks that clients of the same host leave in the staging folder (decision 0013)."""

from __future__ import annotations

import asyncio
import os
import socket
import stat
import threading
from collections.abc import AsyncIterator, Callable, Sequence
from io import FileIO
from pathlib import Path

import pytest
from modelkeep.digest import Digest
from modelkeep.errors import ServiceUnavailable
from modelkeep.names import LeaseName
from modelkeep_server.blob.app.check import Inspection
from modelkeep_server.blob.backends.disk import Disk
from modelkeep_server.blob.backends.filesystem import FilesystemBackend
from modelkeep_server.blob.domain import ByStream, Chunk, Present, ProblemKind, Staged, UploadResult

from tests.unit.blob.rig import OTHER, TEAM, Rig, caller, chunk_of, contents, parts_of, rig, sqlite_url
from tests.unit.blob.test_reap import LATER
from tests.unit.blob.test_upload import counted

GONE, PUBLISHED = UploadResult.OBJECT_MISSING, UploadResult.PUBLISHED


async def staged(tmp_path: Path, url: str) -> AsyncIterator[Rig]:
    """A blob service with a staging folder, in which nothing is left in the end."""
    async with rig(url, FilesystemBackend(tmp_path / "blobs", staging=True)) as service:
        yield service
    assert list((tmp_path / "blobs" / "staging").iterdir()) == [], "something was left in the staging folder"


@pytest.fixture
async def blob(tmp_path: Path) -> AsyncIterator[Rig]:
    async for service in staged(tmp_path, sqlite_url(tmp_path)):
        yield service


@pytest.fixture
async def blob_anywhere(tmp_path: Path, database_url: str) -> AsyncIterator[Rig]:
    async for service in staged(tmp_path, database_url):
        yield service


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "blobs" / "staging"


def names_in(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def token(folder: Path) -> str:
    return (folder / "token").read_text()


async def ask(blob: Rig, folder: Path, datas: Sequence[bytes], lease: LeaseName | None = None) -> tuple[LeaseName, list[Path]]:
    """The files to write; `datas` are all absent."""
    chunks = [chunk_of(data) for data in datas]
    opened, plans = await blob.uploads.prepare_upload(TEAM, lease, chunks, caller(), staging_token=token(folder))
    files = [Path(plan.path) for plan in plans if isinstance(plan, Staged)]
    assert len(files) == len(datas)
    return opened.name, files


async def complete(blob: Rig, lease: LeaseName, *datas: bytes) -> list[UploadResult]:
    return await blob.uploads.complete_upload(lease, [Digest.of(data) for data in datas], caller())


def fill(path: str, data: bytes) -> None:
    Path(path).write_bytes(data)


async def leave(blob: Rig, folder: Path, datas: Sequence[bytes]) -> LeaseName:
    """Write all files as they should be."""
    lease, files = await ask(blob, folder, datas)
    for file, data in zip(files, datas, strict=True):
        file.write_bytes(data)
    return lease


async def test_what_is_left_there_is_published(blob_anywhere: Rig, folder: Path) -> None:
    blob = blob_anywhere
    datas = [*contents(20), os.urandom(3_000_000)]
    lease = await leave(blob, folder, datas)
    assert await blob.present(datas) == [False] * 21  # nothing between absent and live
    assert await complete(blob, lease, *datas) == [PUBLISHED] * 21
    assert await complete(blob, lease, *datas) == [PUBLISHED] * 21
    assert [await blob.read(data) for data in datas] == datas
    assert names_in(folder) == ["token"]
    assert await blob.objects() == 21
    _, plans = await blob.prepare(datas)
    assert plans == [Present()] * 21
    assert await blob.problems() == []


async def test_the_folder_is_private_and_its_token_new_at_every_start(tmp_path: Path) -> None:
    folder = tmp_path / "blobs" / "staging"
    (tmp_path / "blobs").mkdir()
    folder.mkdir(mode=0o777)
    tokens = set()
    for _ in range(2):
        backend = FilesystemBackend(tmp_path / "blobs", staging=True)
        await backend.open()
        assert stat.S_IMODE(folder.stat().st_mode) == 0o700
        assert stat.S_IMODE((folder / "token").stat().st_mode) == 0o600
        tokens.add(token(folder))
        await backend.close()
        assert names_in(folder) == []
    assert len(tokens) == 2
    assert {len(one) for one in tokens} == {64}


async def test_a_check_of_a_running_server_takes_nothing_from_it(blob: Rig, folder: Path, tmp_path: Path) -> None:
    """`fsck` looks at the same store through a backend of its own, which it never opens."""
    before, [data] = token(folder), contents(1)
    lease = await leave(blob, folder, [data])
    other = FilesystemBackend(tmp_path / "blobs", staging=True)
    assert [problem async for problem in Inspection(blob.index, other).problems(deep=True)] == []
    await other.close()
    assert token(folder) == before
    assert await complete(blob, lease, data) == [PUBLISHED]


async def test_a_link_is_not_taken_for_the_folder(tmp_path: Path) -> None:
    (tmp_path / "blobs").mkdir()
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "blobs" / "staging").symlink_to(tmp_path / "elsewhere")
    backend = FilesystemBackend(tmp_path / "blobs", staging=True)
    with pytest.raises(ServiceUnavailable):
        await backend.open()
    assert names_in(tmp_path / "elsewhere") == []
    await backend.close()


@pytest.mark.parametrize("bad", ["", "wrong", "ä", "0" * 64])
async def test_who_does_not_know_the_token_streams(blob: Rig, bad: str) -> None:
    [data] = contents(1)
    lease, plans = await blob.uploads.prepare_upload(TEAM, None, [chunk_of(data)], caller(), staging_token=bad)
    assert plans == [ByStream(0)]
    assert await blob.write(parts_of(lease.name, [data])) == 1


async def test_without_a_folder_everybody_streams(blob_on_disk: Rig) -> None:
    [data] = contents(1)
    assert blob_on_disk.uploads.capabilities().staging_folder == ""
    _, plans = await blob_on_disk.uploads.prepare_upload(TEAM, None, [chunk_of(data)], caller(), staging_token="x")
    assert plans == [ByStream(0)]


async def test_results_are_told_one_by_one(blob: Rig, folder: Path) -> None:
    good, unwritten, short, wrong, unknown = contents(5)
    lease, files = await ask(blob, folder, [good, unwritten, short, wrong])
    for file, data in zip(files, [good, None, short[:-1], wrong[::-1]], strict=True):
        if data is not None:
            file.write_bytes(data)
    assert await complete(blob, lease, good, unwritten, short, wrong, unknown) == [
        PUBLISHED,
        GONE,
        UploadResult.SIZE_MISMATCH,
        UploadResult.DIGEST_MISMATCH,
        UploadResult.GRANT_EXPIRED,
    ]
    assert names_in(folder) == ["token"]  # what is not what it should be was thrown away
    assert await blob.present([good, unwritten, short, wrong]) == [True, False, False, False]
    again = await leave(blob, folder, [short, wrong])
    assert await complete(blob, again, short, wrong) == [PUBLISHED] * 2


def link(file: Path, data: bytes) -> None:
    (file.parents[2] / "theirs").write_bytes(data)
    file.symlink_to(file.parents[2] / "theirs")


def hard_link(file: Path, data: bytes) -> None:
    """The other name would let somebody change the chunk later."""
    (file.parents[2] / "theirs").write_bytes(data)
    file.hardlink_to(file.parents[2] / "theirs")


def pipe(file: Path, _data: bytes) -> None:
    os.mkfifo(file)


def unreadable_socket(file: Path, _data: bytes) -> None:
    with socket.socket(socket.AF_UNIX) as listener:
        here = Path.cwd()
        os.chdir(file.parent)  # the name of a socket may have 108 bytes only
        listener.bind(file.name)
        os.chdir(here)


@pytest.mark.parametrize("plant", [link, hard_link, pipe, unreadable_socket])
async def test_what_is_no_file_of_ours_is_removed(blob: Rig, folder: Path, plant: Callable[[Path, bytes], None]) -> None:
    """M-PATH-3: nothing outside of the folder is read, or becomes a chunk."""
    data, good = contents(2)
    lease, [file, fine] = await ask(blob, folder, [data, good])
    plant(file, data)
    fine.write_bytes(good)
    assert await complete(blob, lease, data, good) == [GONE, PUBLISHED]
    assert names_in(folder) == ["token"]
    assert await blob.present([data]) == [False]


async def test_a_folder_in_the_place_of_a_file(blob: Rig, folder: Path) -> None:
    [data] = contents(1)
    lease, [file] = await ask(blob, folder, [data])
    file.mkdir()
    assert await complete(blob, lease, data) == [GONE]
    file.rmdir()


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a file to somebody else")
async def test_a_file_of_another_user_is_refused(blob: Rig, folder: Path) -> None:
    [data] = contents(1)
    lease, [file] = await ask(blob, folder, [data])
    file.write_bytes(data)
    os.chown(file, 12345, -1)
    assert await complete(blob, lease, data) == [GONE]
    assert await blob.objects() == 0


async def test_a_file_that_grows_meanwhile_is_refused(blob: Rig, folder: Path) -> None:
    [data] = contents(1)
    lease, [file] = await ask(blob, folder, [data])
    file.write_bytes(data + b"!")
    assert await complete(blob, lease, data) == [UploadResult.SIZE_MISMATCH]


async def test_every_call_names_fresh_files_and_whichever_was_written_counts(blob: Rig, folder: Path) -> None:
    """As for URLs (RELIABILITY §2.3)."""
    [data] = contents(1)
    lease, [first] = await ask(blob, folder, [data])
    _, [second] = await ask(blob, folder, [data], lease)
    assert first != second
    second.write_bytes(data)
    assert await complete(blob, lease, data) == [PUBLISHED]
    first.write_bytes(data)  # too late: nobody asks for it any more
    assert await blob.objects() == 1
    assert await blob.problems() == []
    blob.clock.offset = LATER
    await blob.reaper.reap()
    assert names_in(folder) == ["token"]
    assert await blob.read(data) == data


async def test_racing_completions_publish_one_object(blob_anywhere: Rig, folder: Path) -> None:
    blob = blob_anywhere
    datas = contents(10)
    lease = await leave(blob, folder, datas)
    results = await asyncio.gather(*(complete(blob, lease, *datas) for _ in range(4)))
    assert PUBLISHED in {result for one in results for result in one}
    assert await complete(blob, lease, *datas) == [PUBLISHED] * 10
    assert await blob.objects() == 10
    assert await blob.problems() == []


class Hesitant(Disk):
    """It begins to flush a file only when it may."""

    def __init__(self) -> None:
        self.begun, self.may_go_on = threading.Event(), threading.Event()

    def sync(self, file: FileIO) -> None:
        self.begun.set()
        self.may_go_on.wait()
        super().sync(file)


@pytest.mark.peer("M-UP-6")
async def test_a_client_that_is_gone_meanwhile_need_not_bring_it_again(
    tmp_path: Path, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("modelkeep_server.blob.app.endings.PATIENCE_SECONDS", 60)  # however busy the disk is
    disk, datas = Hesitant(), contents(5)
    backend = FilesystemBackend(tmp_path / "blobs", staging=True, disk=disk)
    async with rig(sqlite_url(tmp_path), backend) as blob:
        lease = await leave(blob, folder, datas)
        call = asyncio.create_task(complete(blob, lease, *datas))
        await asyncio.to_thread(disk.begun.wait)
        call.cancel()
        with pytest.raises(asyncio.CancelledError):
            await call
        asyncio.get_running_loop().call_later(0.01, disk.may_go_on.set)
        _, plans = await blob.prepare(datas, lease)  # it waits for what is under way
        assert plans == [Present()] * 5


async def test_two_teams_leave_the_same_chunk(blob_anywhere: Rig, folder: Path) -> None:
    blob = blob_anywhere
    [data] = contents(1)
    leases = []
    for team in (TEAM, OTHER):
        lease, [plan] = await blob.uploads.prepare_upload(
            team, None, [chunk_of(data)], caller(team), staging_token=token(folder)
        )
        assert isinstance(plan, Staged)
        fill(plan.path, data)
        leases.append((team, lease.name))
    for team, lease_name in leases:
        assert await blob.uploads.complete_upload(lease_name, [Digest.of(data)], caller(team)) == [PUBLISHED]
    assert await blob.objects() == 1
    assert await blob.read(data) == await blob.read(data, OTHER) == data


async def test_what_leases_left_goes_with_them(blob_anywhere: Rig, folder: Path) -> None:
    """I8; and fsck tells of it."""
    blob = blob_anywhere
    written, unwritten = contents(2)
    _, [file, _] = await ask(blob, folder, [written, unwritten])
    file.write_bytes(written)
    (folder / "notes.txt").write_text("not ours")
    blob.clock.offset = LATER
    assert [(problem.kind, problem.what) for problem in await blob.problems()] == [
        (ProblemKind.TEMPORARY_LEFT, "staging/notes.txt")
    ]
    await blob.reaper.reap()
    assert names_in(folder) == ["notes.txt", "token"]
    file.write_bytes(written)
    assert {(problem.kind, problem.what, problem.breaks_invariant) for problem in await blob.problems()} == {
        (ProblemKind.TEMPORARY_LEFT, "staging/notes.txt", False),
        (ProblemKind.TEMPORARY_LEFT, f"staging/{file.name}", False),
    }
    (folder / "notes.txt").unlink()
    await blob.reaper.reap()
    assert names_in(folder) == ["token"]


async def test_a_batch_takes_few_statements_whatever_its_size(blob_anywhere: Rig, folder: Path) -> None:
    blob = blob_anywhere
    counts = []
    await blob.prepare([])
    for number, size in enumerate((2, 500)):
        datas = [number.to_bytes(4, "big") + data for data in contents(size, 8)]
        with counted(blob) as prepared:
            lease = await leave(blob, folder, datas)
        with counted(blob) as completed:
            assert await complete(blob, lease, *datas) == [PUBLISHED] * size
        counts.append((len(prepared), len(completed)))
    assert counts[0] == counts[1]
    assert max(counts[0]) <= 12


async def test_a_chunk_may_have_16_mib(blob: Rig, folder: Path) -> None:
    data = bytes(range(256)) * (1 << 16)
    lease = await leave(blob, folder, [data])
    assert await complete(blob, lease, data) == [PUBLISHED]
    assert chunk_of(data) == Chunk(Digest.of(data), 16 << 20)
    assert await blob.read(data) == data
