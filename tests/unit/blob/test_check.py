"""fsck: what it finds, and that it changes nothing."""

from __future__ import annotations

from pathlib import Path

from modelkeep.digest import Digest
from modelkeep_server.blob.domain import ObjectName, ProblemKind
from modelkeep_server.blob.store.tables import HoldingRow, LeaseChunkRow
from sqlalchemy import delete

from tests.unit.blob.rig import OTHER, Rig, contents


def stored_files(folder: Path) -> dict[str, Path]:
    """The files of objects, by the digest in their names."""
    return {path.name.partition(".")[0]: path for path in (folder / "blobs" / "chunks").rglob("*.*")}


async def test_a_healthy_store_has_no_problems(blob_on_disk: Rig) -> None:
    datas = contents(30)
    await blob_on_disk.upload(datas)
    await blob_on_disk.upload(datas[:10], team=OTHER)
    await blob_on_disk.prepare(contents(40))
    assert await blob_on_disk.problems() == []


async def test_damage_is_found(blob_on_disk: Rig, tmp_path: Path) -> None:
    blob, [whole, missing, shorter, flipped] = blob_on_disk, contents(4)
    await blob.upload([whole, missing, shorter, flipped])
    files = {data: stored_files(tmp_path)[Digest.of(data).hex] for data in (missing, shorter, flipped)}
    files[missing].unlink()
    files[shorter].write_bytes(shorter[:-1])
    files[flipped].write_bytes(bytes([flipped[0] ^ 1]) + flipped[1:])
    shallow = {(problem.kind, problem.what) for problem in await blob.problems(deep=False)}
    expected = {
        (ProblemKind.OBJECT_MISSING, str(Digest.of(missing))),
        (ProblemKind.SIZE_WRONG, str(Digest.of(shorter))),
    }
    assert shallow == expected
    deep = {(problem.kind, problem.what) for problem in await blob.problems(deep=True)}
    assert deep == expected | {(ProblemKind.CONTENT_WRONG, str(Digest.of(flipped)))}
    assert all(problem.breaks_invariant for problem in await blob.problems())
    for data, file in files.items():
        file.write_bytes(data)


async def test_rows_that_contradict_each_other_are_found(blob_anywhere: Rig) -> None:
    blob, [doomed, alone] = blob_anywhere, contents(2)
    await blob.upload([doomed])
    await blob.upload([alone], team=OTHER)
    held = await blob.index.read(lambda rows: rows.chunks.page(None, 10))
    [name] = [record.stored.object for record in held if record.stored.chunk.digest == Digest.of(doomed)]
    await blob.index.write(lambda rows: rows.tombstones.add([name]))

    async def forget(session):
        await session.execute(delete(LeaseChunkRow).where(LeaseChunkRow.team == OTHER.team))
        await session.execute(delete(HoldingRow).where(HoldingRow.team == OTHER.team))

    await blob.database.write(forget)
    assert {(problem.kind, problem.what) for problem in await blob.problems()} == {
        (ProblemKind.ROW_INVALID, str(Digest.of(doomed))),
        (ProblemKind.ROW_INVALID, str(Digest.of(alone))),
    }
    await blob.index.write(lambda rows: rows.tombstones.clear([name]))
    await blob.upload([alone])


async def test_an_object_that_nothing_names_is_reported(blob_on_disk: Rig, tmp_path: Path) -> None:
    blob, [data] = blob_on_disk, contents(1)
    await blob.upload([data])
    [file] = stored_files(tmp_path).values()
    stray = file.with_name(f"{Digest.of(data).hex}.{ObjectName.fresh(Digest.of(data)).generation}")
    stray.write_bytes(data)
    [problem] = await blob.problems()
    assert (problem.kind, problem.breaks_invariant) == (ProblemKind.OBJECT_UNKNOWN, False)
    assert problem.what.endswith(stray.name)
    assert stray.exists()
