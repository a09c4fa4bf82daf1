"""Uses on the wire."""

from __future__ import annotations

from modelkeep.api.metadata.v1 import metadata_service_pb2 as pb
from modelkeep.names import RunName

from modelkeep_server.metadata.domain.use import Use


def use_from_pb(request: pb.RecordUseRequest) -> Use:
    """What a run says when it uses a version. Raises InvalidName."""
    return Use(RunName.parse(request.run), request.run_display_name, request.alias_text)
