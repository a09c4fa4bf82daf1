"""The limits of this server on the wire."""

from __future__ import annotations

from modelkeep.api.lineage.v1 import lineage_service_pb2 as pb

from modelkeep_server.lineage.domain.limits import Limits
from modelkeep_server.runtime.moments import to_duration


def limits_to_pb(limits: Limits) -> pb.Capabilities:
    """What GetCapabilities tells."""
    return pb.Capabilities(
        max_json_bytes=limits.max_json_bytes,
        max_points=limits.max_points,
        max_metrics=limits.max_metrics,
        max_tags=limits.max_tags,
        max_nodes=limits.max_nodes,
        max_message_bytes=limits.max_message_bytes,
        heartbeat_timeout=to_duration(limits.heartbeat_timeout),
    )
