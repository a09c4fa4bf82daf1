"""A version of many entries, or of one entry of many segments, in a process of its own: prints its peak memory in bytes.

python -m tests.unit.metadata.many entries COUNT DATABASE_URL
python -m tests.unit.metadata.many segments COUNT DATABASE_URL
"""

from __future__ import annotations

import asyncio
import hashlib
import sys
from collections.abc import AsyncGenerator, AsyncIterator, Sequence

from modelkeep.api.metadata.v1 import metadata_service_pb2 as pb
from modelkeep.digest import Digest
from modelkeep_server.database.engine import Database
from modelkeep_server.metadata.convert.entry import pieces_from_pb
from modelkeep_server.metadata.domain.entry import Piece
from modelkeep_server.metadata.domain.limits import Limits

from tests.bench.measure import peak_bytes
from tests.unit.metadata.rig import CALLER, MemoryChunks, Rig

FILE_BYTES = 50
SEGMENTS = 5
PER_MESSAGE = 8192


class Everything(MemoryChunks):
    """Holds every chunk, and remembers none."""

    async def confirm(self, team: str, epoch: int, batches: AsyncIterator[Sequence[Digest]]) -> AsyncGenerator[Sequence[int]]:
        async for batch in batches:
            yield [FILE_BYTES] * len(batch)


async def entries(count: int) -> AsyncIterator[list[Piece]]:
    """So many files of a few segments, in the order of their paths."""
    for begin in range(0, count, 1000):
        request = pb.AddEntriesRequest()
        for number in range(begin, min(begin + 1000, count)):
            entry = request.entries.add(path=f"part-{number // 1000:05}/{number:08}.bin", size_bytes=FILE_BYTES)
            entry.digest.sha256 = hashlib.sha256(b"%d" % number).digest()
            for i in range(SEGMENTS):
                segment = entry.segments.add(offset=0, length=FILE_BYTES // SEGMENTS)
                segment.chunk.sha256 = hashlib.sha256(b"%d" % (number // 50 + i)).digest()
        yield pieces_from_pb(request)


async def segments(count: int) -> AsyncIterator[list[Piece]]:
    """One file of so many segments, each of a chunk of its own: a stand-in for one of many gigabytes."""
    for begin in range(0, count, PER_MESSAGE):
        end = min(begin + PER_MESSAGE, count)
        request = pb.AddEntriesRequest()
        entry = request.entries.add(path="large.bin", continued=end < count)
        if not begin:
            entry.digest.sha256, entry.size_bytes = hashlib.sha256(b"large").digest(), count
        for number in range(begin, end):
            entry.segments.add(length=1).chunk.sha256 = hashlib.sha256(b"%d" % number).digest()
        yield pieces_from_pb(request)


async def main(what: str, count: int, url: str) -> None:
    """In, sealed, confirmed, committed, and out again."""
    database = Database(url)
    rig = await Rig(database).start()
    rig.chunks = Everything()
    rig.use(Limits(max_segments_per_message=PER_MESSAGE))
    draft = await rig.draft()
    await rig.drafts.add_entries(CALLER, draft, {"entries": entries, "segments": segments}[what](count))
    version = (await rig.commit(draft)).version
    out = 0
    async for parts in rig.entries.stream_entries(CALLER, version.name, "", ""):
        out += len(parts) if what == "entries" else sum(len(part.segments) for part in parts)
    if out != count:
        raise RuntimeError(f"{out} of {count} came out")
    await database.close()
    print(peak_bytes("self"))


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1], int(sys.argv[2]), sys.argv[3]))
