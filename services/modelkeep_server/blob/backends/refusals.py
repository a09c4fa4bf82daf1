"""What backends refuse, in the same words and by the same rules."""

from __future__ import annotations

from typing import TYPE_CHECKING

from modelkeep.errors import ChunkCorrupt, GrantExpired, ServiceUnavailable

from modelkeep_server.blob.domain import Arrival

if TYPE_CHECKING:
    from collections.abc import Sequence

    from modelkeep_server.blob.domain import Grant, Incoming, StoredChunk


def nothing_kept(incoming: Incoming, offset: int, kept_bytes: int) -> GrantExpired:
    """A write wants to go on where nothing is."""
    message = f"{kept_bytes} bytes of chunk {incoming.chunk.digest} were kept, not {offset}; prepare its upload again"
    return GrantExpired(message, digest=str(incoming.chunk.digest), offset=offset, kept=kept_bytes)


def taken_over(incoming: Incoming) -> GrantExpired:
    """The writer was cut off."""
    message = f"another stream writes chunk {incoming.chunk.digest} under this lease, or the lease ended; prepare it again"
    return GrantExpired(message, digest=str(incoming.chunk.digest))


def damaged(chunk: StoredChunk) -> ChunkCorrupt:
    """The stored bytes are not what the index says."""
    message = (
        f"the stored bytes of chunk {chunk.chunk.digest} are damaged; ask the operator to run `modelkeep-server fsck --deep`"
    )
    return ChunkCorrupt(message, digest=str(chunk.chunk.digest))


def no_urls(objects: Sequence[object]) -> list[str]:
    """What a store without URLs answers."""
    if objects:
        raise ServiceUnavailable("this store hands out no URLs; use Write and Read")
    return []


def judged(grants: Sequence[Grant], sizes: Sequence[int | None]) -> list[Arrival]:
    """What the sizes of objects say of the grants that they were made by, where the store has checked their digests."""
    return [judge(grant, size_bytes) for grant, size_bytes in zip(grants, sizes, strict=True)]


def judge(grant: Grant, size_bytes: int | None) -> Arrival:
    """The same for one of them."""
    if size_bytes is None:
        return Arrival.MISSING
    return Arrival.WHOLE if size_bytes == grant.size_bytes else Arrival.SIZE_WRONG
