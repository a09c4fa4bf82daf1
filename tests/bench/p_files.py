"""P6, P7, P9 and P13: very many small files."""

from __future__ import annotations

import asyncio
import os
import shutil
import statistics
import struct
import tempfile
from functools import partial
from pathlib import Path
from time import perf_counter

import asyncpg

from tests.bench.material import make_tree
from tests.bench.measure import Result, client, interleave, run
from tests.bench.p_bytes import empty, s5cmd, s5cmd_env
from tests.bench.parts import modelkeep_server
from tests.servers import postgres_url, seaweedfs

FILE_BYTES = 4096


def p6(folder: Path, count: int, rounds: int) -> list[Result]:
    """Log small files to S3, against s5cmd on the same store."""
    tree = make_tree(folder / "tree", count, FILE_BYTES)

    def ours(_round: int) -> float:
        store = seaweedfs()
        with modelkeep_server(folder, store) as server:
            seconds = client("log", str(tree), env=server.env).seconds
        empty(store)
        return seconds

    def peer(_round: int) -> float:
        store = seaweedfs()
        seconds = run(s5cmd(store, "cp", f"{tree}/*", f"s3://{store.bucket}/"), env=s5cmd_env(store)).seconds
        empty(store)
        return seconds

    mine, theirs = interleave(rounds, ours, peer)
    work = f"log {count:,} files of 4 KiB to S3"
    return [Result("P6", work, mine, theirs, "s s5cmd", "s", mine / theirs, "≤ 0.3", mine / theirs <= 0.3)]


def p7_p9(folder: Path, count: int, rounds: int) -> list[Result]:
    """Log small files, embedded, against `cp -r` and one sync; and fetch them again from the cache, against `cp -r`."""
    tree = make_tree(folder / "tree", count, FILE_BYTES)
    fetches: list[float] = []

    def copy(source: Path, command: str) -> float:
        with tempfile.TemporaryDirectory(dir=folder) as target:
            return run(["sh", "-c", command.format(source=source, target=target)]).seconds

    def ours(_round: int) -> float:
        with modelkeep_server(folder) as server:
            seconds = client("log", str(tree), env=server.env).seconds
            for _ in range(2):  # the first fetch fills the cache
                with tempfile.TemporaryDirectory(dir=folder) as target:
                    fetched = client("fetch", target, env=server.env).seconds
            fetches.append(fetched)
        return seconds

    logged, theirs = interleave(rounds, ours, lambda _: copy(tree, "cp -r '{source}' '{target}/copy' && sync -f '{target}'"))
    copies = sorted(copy(tree, "cp -r '{source}' '{target}/copy'") for _ in range(rounds))
    fetched, copied = sorted(fetches)[len(fetches) // 2], copies[len(copies) // 2]
    shutil.rmtree(tree)
    name = f"{count:,} files of 4 KiB"
    return [
        Result(
            "P7", f"log {name}, embedded", logged, theirs, "s cp+sync", "s", logged / theirs, "≤ 2.5", logged / theirs <= 2.5
        ),
        Result("P9", f"warm fetch of {name}", fetched, copied, "s cp", "s", fetched / copied, "≤ 2", fetched / copied <= 2),
    ]


def p13(folder: Path, count: int, rounds: int) -> list[Result]:
    """Commit a version of very many entries on PostgreSQL, against a binary COPY of as many rows."""
    whole: list[float] = []

    def ours(_round: int) -> float:
        with modelkeep_server(folder, databases=partial(postgres_url, is_durable=True)) as server:
            cost = client("commit", str(count), env=server.env)
            whole.append(float(str(cost.output["all_seconds"])))
            return cost.seconds

    rows, peer = folder / "rows.pgcopy", postgres_url(is_durable=True)
    _write_rows(rows, count)
    mine, theirs = interleave(rounds, ours, lambda _: asyncio.run(_copy(peer, rows)))
    rows.unlink()
    work = f"commit {count:,} entries, PostgreSQL"
    every = statistics.median(whole)
    return [
        Result("P13", work, mine, theirs, "s COPY", "s", mine / theirs, "≤ 8", mine / theirs <= 8),
        Result("P13", "  with all entries that went ahead", every, theirs, "s COPY", "s", every / theirs, "–", None),
    ]


def _write_rows(path: Path, count: int) -> None:
    """Rows of a path, a digest and a size in PostgreSQL's binary form, so that the peer only loads them."""
    with path.open("wb") as out:
        out.write(b"PGCOPY\n\xff\r\n\0" + struct.pack(">ii", 0, 0))
        for number in range(count):
            name = f"part-{number // 1000:05}/{number:08}.bin".encode()
            out.write(
                struct.pack(">hi", 3, len(name)) + name + struct.pack(">i", 32) + os.urandom(32) + struct.pack(">iq", 8, 64)
            )
        out.write(struct.pack(">h", -1))


async def _copy(dsn: str, rows: Path) -> float:
    connection = await asyncpg.connect(dsn)
    try:
        await connection.execute("CREATE TABLE rows (path bytea, digest bytea, size bigint)")
        start = perf_counter()
        await connection.copy_to_table("rows", source=rows, format="binary")
        return perf_counter() - start
    finally:
        await connection.execute("DROP TABLE IF EXISTS rows")
        await connection.close()
