"""Uploads that the client drives: asking what is missing, publishing what it brought to the store, keeping the lease alive."""

from __future__ import annotations

from collections import defaultdict
from datetime import timedelta
from typing import TYPE_CHECKING, Final

from modelkeep.errors import LeaseNotFound, SizeMismatch

from modelkeep_server.blob.app.publish import Publisher, Upload
from modelkeep_server.blob.domain import (
    Arrival,
    ByStream,
    ByUrl,
    Capabilities,
    Cutting,
    Grant,
    Incoming,
    ObjectName,
    Present,
    Staged,
    UploadResult,
    check_batch,
)

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence

    from modelkeep.digest import Digest
    from modelkeep.names import LeaseName, TeamName

    from modelkeep_server.blob.app.endings import Endings
    from modelkeep_server.blob.app.reap import Reaper
    from modelkeep_server.blob.domain import Chunk, Lease, StoredChunk, Terms, UploadPlan
    from modelkeep_server.blob.ports import Backend, Index, Rows
    from modelkeep_server.runtime.callers import Caller

    _Plans = Mapping[Digest, UploadPlan]

_RESULTS: Final = {
    Arrival.WHOLE: UploadResult.GRANT_EXPIRED,  # it was there, but its grant was gone when it was to be published
    Arrival.MISSING: UploadResult.OBJECT_MISSING,
    Arrival.SIZE_WRONG: UploadResult.SIZE_MISMATCH,
    Arrival.DIGEST_WRONG: UploadResult.DIGEST_MISMATCH,
}
"""What a chunk that was not published is answered with."""


class Uploads:
    """Asks, and answers, about chunks on their way in."""

    def __init__(
        self, index: Index, backend: Backend, terms: Terms, reaper: Reaper, *, endings: Endings, cutting: Cutting | None = None
    ) -> None:
        self._index = index
        self._backend = backend
        self._terms = terms
        self._reaper = reaper
        self._endings = endings
        self._cutting = cutting or Cutting()
        self._publisher = Publisher(index, backend, terms)

    def capabilities(self) -> Capabilities:
        """What clients must know of this server."""
        return Capabilities(
            lease_seconds=int(self._terms.lease.total_seconds()),
            direct_upload=self._backend.direct_upload,
            direct_download=self._backend.direct_download,
            cutting=self._cutting,
            staging_folder=self._backend.staging.folder if self._backend.staging else "",
        )

    async def prepare_upload(
        self,
        team: TeamName,
        lease: LeaseName | None,
        chunks: Sequence[Chunk],
        caller: Caller,
        *,
        stream_only: bool = False,
        staging_token: str = "",
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
        plan = self._way(stream_only=stream_only, staging_token=staging_token)
        by_url = plan != self._offsets

        async def work(rows: Rows) -> tuple[Lease, dict[Digest, Grant]]:
            opened = await (rows.leases.get(lease) if lease else rows.leases.open(team, self._terms.lease))
            present = await rows.chunks.revive(team, wanted)
            _check_sizes(wanted, present)
            await rows.leases.protect(opened.name, present)
            absent = [chunk for digest, chunk in wanted.items() if digest not in present]
            return opened, await _grant(rows, opened.name, absent, by_url=by_url)

        opened, grants = await self._index.write(work)  # grants are committed before any URL leaves
        self._reaper.soon()
        plans = await plan(opened, list(grants.values()))
        return opened, [plans.get(chunk.digest, Present()) for chunk in chunks]

    async def complete_upload(self, lease: LeaseName, digests: Sequence[Digest], caller: Caller) -> list[UploadResult]:
        """Publish what went to URLs or into files, chunk by chunk. Raises LeaseNotFound, LeaseExpired, LimitExceeded.

        It is done to its end even when the client goes away meanwhile: what it brought need not be brought again (M-UP-6).
        """
        caller.require(lease.team)
        check_batch(len(digests), "digests")
        return await self._endings.see_through(lease, self._complete(lease, digests))

    async def _complete(self, lease: LeaseName, digests: Sequence[Digest]) -> list[UploadResult]:

        async def work(rows: Rows) -> list[Grant]:
            await rows.leases.get(lease)
            return await rows.grants.find(lease, set(digests), by_url=True)

        grants = await self._index.read(work)
        arrivals = dict(zip(grants, await self._backend.arrived(grants), strict=True))
        good = {grant.object.digest: grant for grant, arrival in arrivals.items() if arrival is Arrival.WHOLE}
        objects = {grant.object: grant.size_bytes for grant in good.values()}
        useless = {grant.object for grant, arrival in arrivals.items() if arrival is not Arrival.MISSING} - objects.keys()
        published = await self._publisher.publish(Upload(lease, objects, useless, digests))
        failed = defaultdict(lambda: UploadResult.GRANT_EXPIRED, {g.object.digest: _RESULTS[a] for g, a in arrivals.items()})
        return [UploadResult.PUBLISHED if digest in published else failed[digest] for digest in digests]

    async def renew_lease(self, lease: LeaseName, caller: Caller) -> Lease:
        """Let the lease last a full lease time from now. Raises LeaseNotFound, LeaseExpired."""
        caller.require(lease.team)
        return await self._index.write(lambda rows: rows.leases.renew(lease, self._terms.lease))

    def _way(self, *, stream_only: bool, staging_token: str) -> Callable[[Lease, Sequence[Grant]], Awaitable[_Plans]]:
        """How the chunks of a call that are not present shall come."""
        if self._backend.direct_upload and not stream_only:
            return self._urls
        staging = self._backend.staging
        return self._files if staging and staging_token and staging.admits(staging_token) else self._offsets

    async def _urls(self, lease: Lease, grants: Sequence[Grant]) -> _Plans:
        lasting = max(timedelta(seconds=1), min(self._terms.url, lease.left))
        urls = await self._backend.upload_urls([(grant.object, lasting) for grant in grants])
        expire_time = lease.read_time + lasting
        return {grant.object.digest: ByUrl(url, expire_time) for grant, url in zip(grants, urls, strict=True)}

    async def _files(self, _lease: Lease, grants: Sequence[Grant]) -> _Plans:
        staging = self._backend.staging
        return {grant.object.digest: Staged(staging.path(grant.object)) for grant in grants} if staging else {}

    async def _offsets(self, lease: Lease, grants: Sequence[Grant]) -> _Plans:
        incoming = [Incoming(lease.name, grant.chunk) for grant in grants]
        offsets = await self._backend.received(incoming)
        return {grant.object.digest: ByStream(offset) for grant, offset in zip(grants, offsets, strict=True)}


async def _grant(rows: Rows, lease: LeaseName, absent: Sequence[Chunk], *, by_url: bool) -> dict[Digest, Grant]:
    """A grant for each chunk. A stream's grant is used again; a URL or a file names a fresh object every time."""
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
