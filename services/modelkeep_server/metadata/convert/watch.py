"""Watches on the wire."""

from __future__ import annotations

from modelkeep.api.metadata.v1 import alias_pb2 as alias_pb
from modelkeep.api.metadata.v1 import metadata_service_pb2 as pb

from modelkeep_server.metadata.convert.version import version_to_pb
from modelkeep_server.metadata.domain.watch import AliasState, Heartbeat
from modelkeep_server.runtime.moments import to_timestamp


def said_to_pb(said: AliasState | Heartbeat) -> pb.WatchAliasResponse:
    """One message of a stream."""
    return _state(said) if isinstance(said, AliasState) else pb.WatchAliasResponse(read_time=to_timestamp(said.read_time))


def _state(state: AliasState) -> pb.WatchAliasResponse:
    alias = alias_pb.Alias(
        name=str(state.name),
        version=str(state.version.name) if state.version else "",
        seq=state.seq,
        update_time=to_timestamp(state.update_time),
        actor=state.actor,
        reason=state.reason,
        etag=str(state.seq),
    )
    version = version_to_pb(state.version) if state.version else None
    return pb.WatchAliasResponse(alias=alias, version=version, read_time=to_timestamp(state.read_time))
