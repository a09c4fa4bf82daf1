"""Uploads that the client drives: asking what is missing, publishing what went to URLs, keeping the lease alive."""

from __future__ import annotations

from collections import defaultdict
from datetime import timedelta
from typing import TYPE_CHECKING

from modelkeep.errors import LeaseNotFound, SizeMismatch

from modelkeep_server.blob.app.publish import Publisher, Upload
from modelkeep_server.blob.domain import (
    ByStream,
    ByUrl,
    Capabilities,
    Grant,
    Incoming,
    ObjectName,
    Present,
    UploadResult,
    check_batch,
)

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from modelkeep.digest import Digest
    from modelkeep.names import LeaseName, TeamName

    from modelkeep_server.blob.app.endings import Endings
    from modelkeep_server.blob.app.reap import Reaper
    from modelkeep_server.blob.domain import Chunk, Lease, StoredChunk, Terms, UploadPlan
    from modelkeep_server.blob.ports import Backend, Index, Rows
    from modelkeep_server.runtime.callers import Caller


class Uploads:
    """Asks, and answers, about chunks on their way in."""

    def __init__(self, index: Index, backend: Backend, terms: Terms, reaper: Reaper, endings: Endings) -> None:
        self._index = index
        self._backend = backend
        self._terms = terms
        self._reaper = reaper
        self._endings = endings
        self._publisher = Publisher(index, backend, terms)

    def capabilities(self) -> Capabilities:
        """What clients must know of this server."""
        lease_seconds = int(self._terms.lease.total_seconds())
        return Capabilities(lease_seconds, self._backend.direct_upload, self._backend.direct_download)

    async def prepare_upload(
        self, team: TeamName, lease: LeaseName | None, chunks: Sequence[Chunk], caller: Caller, *, stream_only: bool = False
    ) -> tuple[Lease, list[UploadPlan]]:
        """What to do with each chunk. What is answered as present is live and leased from the same transaction on.

        Raises LeaseNotFound, LeaseExpired, LimitExceeded, SizeMismatch.
        """
        caller.require(team.team)
        check_batch(len(chunks), "chunks")
        if lease is not None and lease.team != team.team:
            raise LeaseNotFound(f"{lease} is not a lease of {team}; open one with PrepareUpload", lease=str(lease))
        if lease is not None:
            await self._endings.settled(lease)
        wanted = _by_digest(chunks)
        by_url = self._backend.direct_upload and not stream_only

        async def work(rows: Rows) -> tuple[Lease, dict[Digest, Grant]]:
            opened = await (rows.leases.get(lease) if lease else rows.leases.open(team, self._terms.lease))
            present = await rows.chunks.revive(team, wanted)
            _check_sizes(wanted, present)
            await rows.leases.protect(opened.name, present)
            absent = [chunk for digest, chunk in wanted.items() if digest not in present]
            return opened, await _grant(rows, opened.name, absent, by_url=by_url)

        opened, grants = await self._index.write(work)  # grants are committed before any URL leaves
        self._reaper.soon()
        plans = await (self._urls if by_url else self._offsets)(opened, list(grants.values()))
        return opened, [plans.get(chunk.digest, Present()) for chunk in chunks]

    async def complete_upload(self, lease: LeaseName, digests: Sequence[Digest], caller: Caller) -> list[UploadResult]:
        """Publish what was sent to URLs, chunk by chunk. Raises LeaseNotFound, LeaseExpired, LimitExceeded."""
        caller.require(lease.team)
        check_batch(len(digests), "digests")

        async def work(rows: Rows) -> list[Grant]:
            await rows.leases.get(lease)
            return await rows.grants.find(lease, set(digests), by_url=True)

        grants = await self._index.read(work)
        sizes = dict(zip(grants, await self._backend.stat([grant.object for grant in grants]), strict=True))
        good = {g.object.digest: g for g, size in sizes.items() if size == g.size_bytes}
        useless = {g.object for g, size in sizes.items() if size is not None} - {g.object for g in good.values()}
        objects = {grant.object: grant.size_bytes for grant in good.values()}
        published = await self._publisher.publish(Upload(lease, objects, useless, digests))
        failed = defaultdict(lambda: UploadResult.GRANT_EXPIRED, {g.object.digest: _failure(sizes[g]) for g in grants})
        return [UploadResult.PUBLISHED if digest in published else failed[digest] for digest in digests]

    async def renew_lease(self, lease: LeaseName, caller: Caller) -> Lease:
        """Let the lease last a full lease time from now. Raises LeaseNotFound, LeaseExpired."""
        caller.require(lease.team)
        return await self._index.write(lambda rows: rows.leases.renew(lease, self._terms.lease))

    async def _urls(self, lease: Lease, grants: Sequence[Grant]) -> Mapping[Digest, UploadPlan]:
        lasting = max(timedelta(seconds=1), min(self._terms.url, lease.left))
        urls = await self._backend.upload_urls([(grant.object, lasting) for grant in grants])
        expire_time = lease.read_time + lasting
        return {grant.object.digest: ByUrl(url, expire_time) for grant, url in zip(grants, urls, strict=True)}

    async def _offsets(self, lease: Lease, grants: Sequence[Grant]) -> Mapping[Digest, UploadPlan]:
        incoming = [Incoming(lease.name, grant.chunk) for grant in grants]
        offsets = await self._backend.received(incoming)
        return {grant.object.digest: ByStream(offset) for grant, offset in zip(grants, offsets, strict=True)}


async def _grant(rows: Rows, lease: LeaseName, absent: Sequence[Chunk], *, by_url: bool) -> dict[Digest, Grant]:
    """A grant for each chunk. A stream's grant is used again; a URL names a fresh object every time."""
    digests = {chunk.digest for chunk in absent}
    found = [] if by_url else await rows.grants.find(lease, digests, by_url=False)
    kept = {grant.object.digest: grant for grant in found}
    fresh = {
        chunk.digest: Grant(ObjectName.fresh(chunk.digest), chunk.size_bytes, by_url)
        for chunk in absent
        if chunk.digest not in kept or kept[chunk.digest].size_bytes != chunk.size_bytes
    }
    await rows.grants.add(lease, fresh.values())
    return kept | fresh


def _by_digest(chunks: Iterable[Chunk]) -> dict[Digest, Chunk]:
    wanted: dict[Digest, Chunk] = {}
    for chunk in chunks:
        if wanted.setdefault(chunk.digest, chunk) != chunk:
            raise _other_size(chunk, wanted[chunk.digest].size_bytes)
    return wanted


def _check_sizes(wanted: Mapping[Digest, Chunk], present: Mapping[Digest, StoredChunk]) -> None:
    for digest, stored in present.items():
        if stored.chunk != wanted[digest]:
            raise _other_size(wanted[digest], stored.chunk.size_bytes)


def _other_size(chunk: Chunk, size_bytes: int) -> SizeMismatch:
    message = f"chunk {chunk.digest} has {size_bytes} bytes, not {chunk.size_bytes}; read the content again"
    return SizeMismatch(message, digest=str(chunk.digest), expected=size_bytes, actual=chunk.size_bytes)


def _failure(size_bytes: int | None) -> UploadResult:
    return UploadResult.OBJECT_MISSING if size_bytes is None else UploadResult.SIZE_MISMATCH
