"""How lineage reaches metadata: the ports `Projects` and `EventLogs`, answered by the other service's stubs."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

import grpc.aio
import structlog
from modelkeep.api.metadata.v1 import event_pb2 as event_pb
from modelkeep.api.metadata.v1 import metadata_maintenance_service_pb2 as maintenance_pb
from modelkeep.api.metadata.v1 import metadata_maintenance_service_pb2_grpc as maintenance_rpc
from modelkeep.api.metadata.v1 import metadata_service_pb2 as pb
from modelkeep.api.metadata.v1 import metadata_service_pb2_grpc as rpc
from modelkeep.errors import InvalidAlias, InvalidName, NotFound
from modelkeep.names import AliasName, CollectionName, ProjectName, RunName, VersionName

from modelkeep_server.lineage.domain.graph_event import (
    AliasSet,
    CollectionSeen,
    Fact,
    GraphEvent,
    RunSeen,
    VersionMade,
    VersionState,
    VersionTaken,
)
from modelkeep_server.runtime.moments import from_timestamp

log = structlog.get_logger()

HEADS_AT_ONCE: Final = 1000


class MetadataProjects:
    """The projects that the metadata service keeps."""

    def __init__(self, channel: grpc.aio.Channel) -> None:
        self._stub = rpc.MetadataServiceStub(channel)  # type: ignore[no-untyped-call,unused-ignore]

    async def require(self, name: ProjectName) -> None:
        """Raises TeamNotFound, ProjectNotFound, and what makes a call to metadata fail, such as ServiceUnavailable."""
        await self._stub.GetProject(pb.GetProjectRequest(name=str(name)))


class MetadataLogs:
    """The event logs that the metadata service keeps."""

    def __init__(self, channel: grpc.aio.Channel) -> None:
        self._stub = rpc.MetadataServiceStub(channel)  # type: ignore[no-untyped-call,unused-ignore]
        self._maintenance = maintenance_rpc.MetadataMaintenanceServiceStub(channel)  # type: ignore[no-untyped-call,unused-ignore]
        self._last_heads: tuple[bytes, Mapping[ProjectName, int]] = b"", {}

    async def heads(self, token: str = "") -> tuple[Mapping[ProjectName, int], str]:
        """How far the logs go: a page of them, and the token of the next."""
        request = maintenance_pb.ListEventHeadsRequest(page_size=HEADS_AT_ONCE, page_token=token)
        response = await self._maintenance.ListEventHeads(request)
        # Every question asks this, and mostly the answer is that of the question before, which is seen sooner than read.
        raw, heads = self._last_heads
        if (now := response.SerializeToString()) != raw:
            heads = {ProjectName.parse(head.project): head.sequence for head in response.heads}
            self._last_heads = now, heads
        return heads, response.next_page_token

    async def head(self, project: ProjectName) -> int:
        """How far the log of one project goes; 0 when there is none."""
        try:
            response = await self._stub.ListEvents(pb.ListEventsRequest(parent=str(project), page_size=1))
        except NotFound:
            return 0
        return int(response.head_sequence)

    async def events(self, project: ProjectName, after: int, size: int) -> Sequence[GraphEvent]:
        """At most so many events after one, oldest first."""
        request = pb.ListEventsRequest(parent=str(project), after_sequence=after, page_size=size)
        response = await self._stub.ListEvents(request)
        return [_event(event) for event in response.events]


def _event(event: event_pb.Event) -> GraphEvent:
    """An event, as far as the graph is concerned. One that cannot be read is only counted: it would hold up all that follow."""
    kind = event.WhichOneof("happening") or ""
    fact: Fact | None = None
    try:
        if read := _FACTS.get(kind):
            fact = read(getattr(event, kind))
    except (InvalidName, InvalidAlias) as error:
        log.warning("an event is left out of the graph", project=event.project, sequence=event.sequence, error=error.message)
    return GraphEvent(event.sequence, from_timestamp(event.event_time, "event_time"), fact)


def _created(said: event_pb.CollectionCreated | event_pb.CollectionUpdated) -> Fact:
    return CollectionSeen(said.collection_uid, CollectionName.parse(said.collection), type=said.type)


def _renamed(said: event_pb.CollectionRenamed) -> Fact:
    old = CollectionName.parse(said.old_collection)
    return CollectionSeen(said.collection_uid, CollectionName.parse(said.collection), old)


def _committed(said: event_pb.VersionCommitted) -> Fact:
    return VersionMade(
        VersionName.parse(said.version),
        said.version_uid,
        said.collection_uid,
        said.type,
        said.digest,
        said.deduplicated,
        RunSeen(RunName.parse(said.run), said.run_display_name) if said.run else None,
        said.origin_uid,
    )


def _deleted(said: event_pb.VersionDeleted) -> Fact:
    return VersionState(VersionName.parse(said.version), said.version_uid, is_deleted=True)


def _restored(said: event_pb.VersionRestored) -> Fact:
    return VersionState(VersionName.parse(said.version), said.version_uid, is_deleted=False)


def _moved(said: event_pb.AliasMoved) -> Fact:
    number = VersionName.parse(said.to_version).number if said.to_version else None
    return AliasSet(AliasName.parse(said.alias), said.collection_uid, said.seq, number)


def _used(said: event_pb.VersionUsed) -> Fact:
    run = RunSeen(RunName.parse(said.run), said.run_display_name)
    return VersionTaken(VersionName.parse(said.version), said.version_uid, run, said.alias_text)


_FACTS: Final[Mapping[str, Callable[[Any], Fact]]] = {
    "collection_created": _created,
    "collection_updated": _created,
    "collection_renamed": _renamed,
    "version_committed": _committed,
    "version_deleted": _deleted,
    "version_restored": _restored,
    "alias_moved": _moved,
    "version_used": _used,
}
