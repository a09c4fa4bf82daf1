"""R2, short form: every system call of an upload fails once, in every way that matters, and nothing breaks."""

from __future__ import annotations

import asyncio
import errno
from collections.abc import Awaitable
from dataclasses import dataclass, field
from io import FileIO
from itertools import count
from pathlib import Path

import pytest
from modelkeep.digest import Digest
from modelkeep.errors import ModelkeepError, ServiceUnavailable, StorageFull
from modelkeep_server.blob.backends.disk import Disk
from modelkeep_server.blob.backends.filesystem import FilesystemBackend
from modelkeep_server.blob.domain import MIB, Staged, UploadResult

from tests.unit.blob.rig import TEAM, Rig, caller, chunk_of, contents, parts_of, rig, sqlite_url
from tests.unit.blob.test_reap import LATER
from tests.unit.blob.test_staging import fill, token

DATAS = [*contents(3), bytes(range(256)) * (2 * MIB // 256)]
STAGED = [*contents(1), bytes(300_000)]


@dataclass
class FaultyDisk(Disk):
    """The n-th call fails; a write may have written the half of it by then."""

    error: int
    fail_at: int = 0
    calls: list[str] = field(default_factory=list)

    def arm(self, fail_at: int) -> None:
        self.fail_at = fail_at
        self.calls.clear()

    def disarm(self) -> str | None:
        """The name of the call that failed."""
        failed = self.calls[self.fail_at - 1] if len(self.calls) >= self.fail_at else None
        self.fail_at = 0
        return failed

    def _call(self, name: str) -> bool:
        self.calls.append(name)
        return len(self.calls) == self.fail_at

    def _check(self, name: str) -> None:
        if self._call(name):
            raise OSError(self.error, f"injected into {name}")

    def create(self, path: Path) -> FileIO:
        self._check("create")
        return super().create(path)

    def reopen(self, path: Path) -> FileIO:
        self._check("reopen")
        return super().reopen(path)

    def open(self, path: Path) -> FileIO:
        self._check("open")
        return super().open(path)

    def read_into(self, file: FileIO, buffer: memoryview) -> int:
        self._check("read_into")
        return super().read_into(file, buffer)

    def write(self, file: FileIO, data: bytes | memoryview) -> None:
        if self._call("write"):
            super().write(file, data[: len(data) // 2])
            raise OSError(self.error, "injected into write")
        super().write(file, data)

    def sync(self, file: FileIO) -> None:
        self._check("sync")
        super().sync(file)

    def sync_folder(self, path: Path) -> None:
        self._check("sync_folder")
        super().sync_folder(path)

    def make_folder(self, path: Path) -> None:
        self._check("make_folder")
        super().make_folder(path)

    def rename(self, source: Path, target: Path) -> None:
        self._check("rename")
        super().rename(source, target)

    def link(self, source: Path, target: Path) -> None:
        self._check("link")
        super().link(source, target)

    def remove(self, path: Path) -> None:
        self._check("remove")
        super().remove(path)

    def read(self, path: Path, offset: int, length: int) -> bytes:
        self._check("read")
        return super().read(path, offset, length)


async def upload_and_read(blob: Rig) -> None:
    lease, _ = await blob.prepare(DATAS)
    await blob.write(parts_of(lease, DATAS))
    for data in DATAS:
        assert await blob.read(data) == data


async def error_of(work: Awaitable[object]) -> ModelkeepError | None:
    try:
        await work
    except ModelkeepError as error:
        return error
    return None


def temporaries(folder: Path) -> list[Path]:
    return list((folder / "blobs" / "incoming").iterdir())


@pytest.mark.parametrize(("number", "expected"), [(errno.EIO, ServiceUnavailable), (errno.ENOSPC, StorageFull)])
async def test_every_system_call_may_fail(tmp_path: Path, number: int, expected: type[ModelkeepError]) -> None:
    """R2, M-UP-6: I1 to I4 hold after each of them, the error is typed, nothing is left over, and the same server goes on."""
    failed_calls = []
    for fail_at in count(1):
        folder = tmp_path / str(fail_at)
        folder.mkdir()
        disk = FaultyDisk(number)
        async with rig(sqlite_url(folder), FilesystemBackend(folder / "blobs", disk=disk, threads=1)) as blob:
            disk.arm(fail_at)
            error = await error_of(upload_and_read(blob))
            failed = disk.disarm()
            assert error is None or type(error) is expected
            assert error is not None or failed in {None, "remove"}  # what cannot be removed is removed later
            assert failed == "remove" or temporaries(folder) == []
            for data, is_present in zip(DATAS, await blob.present(DATAS), strict=True):
                assert not is_present or await blob.read(data) == data
            assert [problem for problem in await blob.problems() if problem.breaks_invariant] == []
            await upload_and_read(blob)
        if failed is None:
            break
        failed_calls.append(failed)
    assert {*failed_calls} == {"create", "write", "sync", "sync_folder", "make_folder", "rename", "link", "remove", "read"}


async def leave_and_read(blob: Rig) -> None:
    """The same through the staging folder; a client that is told that something is missing prepares again."""
    staging = blob.backend.staging
    assert staging is not None
    chunks = [chunk_of(data) for data in STAGED]
    lease, plans = await blob.uploads.prepare_upload(TEAM, None, chunks, caller(), staging_token=token(Path(staging.folder)))
    for plan, data in zip(plans, STAGED, strict=True):
        if isinstance(plan, Staged):
            fill(plan.path, data)
    digests = [chunk.digest for chunk in chunks]
    assert await blob.uploads.complete_upload(lease.name, digests, caller()) == [UploadResult.PUBLISHED] * len(STAGED)
    for data in STAGED:
        assert await blob.read(data) == data


@pytest.mark.parametrize(("number", "expected"), [(errno.EIO, ServiceUnavailable), (errno.ENOSPC, StorageFull)])
async def test_every_system_call_of_a_staged_upload_may_fail(
    tmp_path: Path, number: int, expected: type[ModelkeepError]
) -> None:
    """R2: as above, and nothing stays in the staging folder once its lease has ended."""
    failed_calls = []
    for fail_at in count(1):
        folder = tmp_path / str(fail_at)
        folder.mkdir()
        disk = FaultyDisk(number)
        backend = FilesystemBackend(folder / "blobs", disk=disk, threads=1, staging=True)
        async with rig(sqlite_url(folder), backend) as blob:
            await blob.prepare([])
            disk.arm(fail_at)
            error = await error_of(leave_and_read(blob))
            failed = disk.disarm()
            assert error is None or type(error) is expected
            assert error is not None or failed in {None, "remove"}  # what cannot be removed is removed later
            for data, is_present in zip(STAGED, await blob.present(STAGED), strict=True):
                assert not is_present or await blob.read(data) == data
            assert [problem for problem in await blob.problems() if problem.breaks_invariant] == []
            await leave_and_read(blob)
            blob.clock.offset = LATER
            await blob.reaper.reap()
            assert await blob.problems() == []
            assert [path.name for path in (folder / "blobs" / "staging").iterdir()] == ["token"]
        if failed is None:
            break
        failed_calls.append(failed)
    assert {*failed_calls} == {"open", "read_into", "sync", "sync_folder", "make_folder", "link", "remove", "read"}


async def test_a_staged_file_whose_flush_failed_is_not_flushed_again(tmp_path: Path) -> None:
    """RELIABILITY §2.5."""
    disk = FaultyDisk(errno.EIO)
    async with rig(sqlite_url(tmp_path), FilesystemBackend(tmp_path / "blobs", disk=disk, threads=1, staging=True)) as blob:
        disk.arm(3)
        assert isinstance(await error_of(leave_and_read(blob)), ServiceUnavailable)
        assert disk.calls[:3] == ["open", "read_into", "sync"]
        assert "link" not in disk.calls
        disk.disarm()
        assert await blob.present(STAGED[:1]) == [False]
        left = {path.name.partition(".")[0] for path in (tmp_path / "blobs" / "staging").iterdir()}
        assert Digest.of(STAGED[0]).hex not in left


async def test_a_stream_that_fails_takes_nothing_from_another_one(tmp_path: Path) -> None:
    """Two streams bring the same chunks under one lease; whichever fails, what the other published stays."""
    disk = FaultyDisk(errno.EIO)
    async with rig(sqlite_url(tmp_path), FilesystemBackend(tmp_path / "blobs", disk=disk, threads=4)) as blob:
        for fail_at in range(1, 60, 2):
            datas = [fail_at.to_bytes(4, "big") * size for size in (100, 200, 300)]
            lease, _ = await blob.prepare(datas)
            disk.arm(fail_at)
            await asyncio.gather(*(blob.write(parts_of(lease, datas)) for _ in range(2)), return_exceptions=True)
            disk.disarm()
            assert [problem for problem in await blob.problems() if problem.breaks_invariant] == []


async def test_a_failed_flush_is_not_tried_again(tmp_path: Path) -> None:
    """RELIABILITY §2.5: the kernel may have dropped the bytes, and the second fsync of the same file would succeed."""
    disk = FaultyDisk(errno.EIO)
    async with rig(sqlite_url(tmp_path), FilesystemBackend(tmp_path / "blobs", disk=disk, threads=1)) as blob:
        lease, _ = await blob.prepare(DATAS[:1])
        disk.arm(("create", "write", "rename", "sync").index("sync") + 1)
        assert isinstance(await error_of(blob.write(parts_of(lease, DATAS[:1]))), ServiceUnavailable)
        assert disk.calls[:4] == ["create", "write", "rename", "sync"]
        assert "link" not in disk.calls
        disk.disarm()
        assert temporaries(tmp_path) == []
        assert await blob.write(parts_of(lease, DATAS[:1])) == 1


@pytest.mark.parametrize("fail_at", [1, 2, 3])
async def test_a_store_that_cannot_be_made_ready_says_so(tmp_path: Path, fail_at: int) -> None:
    disk = FaultyDisk(errno.EIO)
    disk.arm(fail_at)
    backend = FilesystemBackend(tmp_path / "blobs", disk=disk)
    with pytest.raises(ServiceUnavailable):
        await backend.open()
    disk.disarm()
    await backend.open()
    await backend.close()


async def test_a_folder_that_is_gone(tmp_path: Path) -> None:
    backend = FilesystemBackend(tmp_path / "blobs")
    with pytest.raises(ServiceUnavailable):
        await backend.check()
    await backend.close()
