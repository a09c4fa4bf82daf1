"""The limits of this server on the wire."""

from __future__ import annotations

from modelkeep.api.metadata.v1 import metadata_service_pb2 as pb
from modelkeep.manifest import MAX_PATH_BYTES
from modelkeep.metadata import MAX_BYTES

from modelkeep_server.metadata.domain.limits import Limits


def limits_to_pb(limits: Limits) -> pb.Capabilities:
    """What GetCapabilities tells."""
    return pb.Capabilities(
        max_aliases=limits.max_aliases,
        max_tags=limits.max_tags,
        max_metadata_bytes=MAX_BYTES,
        max_path_bytes=MAX_PATH_BYTES,
        max_entries_per_message=limits.max_entries_per_message,
        max_segments_per_message=limits.max_segments_per_message,
        max_message_bytes=limits.max_message_bytes,
        max_entries=limits.max_entries,
        max_paths=limits.max_paths,
        max_signatures=limits.max_signatures,
    )
