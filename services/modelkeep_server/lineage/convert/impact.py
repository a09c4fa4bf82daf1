"""An Impact on the wire."""

from __future__ import annotations

from modelkeep.api.lineage.v1 import lineage_service_pb2 as pb

from modelkeep_server.lineage.convert.graph import group_to_pb, truncation_to_pb
from modelkeep_server.lineage.domain.graph import Impact, NodeKind


def impact_to_pb(impact: Impact) -> pb.Impact:
    """What was made from something, in short."""
    return pb.Impact(
        version_count=impact.counts[NodeKind.VERSION],
        run_count=impact.counts[NodeKind.RUN],
        groups=map(group_to_pb, impact.groups),
        aliases=impact.aliases,
        alias_count=impact.alias_count,
        truncation=truncation_to_pb(impact.truncation),
        lagging=impact.is_lagging,
    )
