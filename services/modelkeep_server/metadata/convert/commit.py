"""Commits on the wire."""

from __future__ import annotations

from modelkeep.api.metadata.v1 import metadata_service_pb2 as pb
from modelkeep.metadata import decode, encode
from modelkeep.names import LATEST, RunName, parse_alias

from modelkeep_server.metadata.convert.version import tags_from_pb, version_to_pb
from modelkeep_server.metadata.domain.draft import Commit, Committed
from modelkeep_server.metadata.domain.text import MAX_MARKDOWN, parse_text


def commit_from_pb(request: pb.CommitDraftRequest) -> Commit:
    """The body of a commit. Raises InvalidAlias, InvalidTag, InvalidMetadata, InvalidArgument, InvalidName, LimitExceeded."""
    return Commit(
        aliases=tuple(sorted({parse_alias(alias) for alias in request.aliases} - {LATEST})),
        tags=tags_from_pb(request.tags),
        description=parse_text(request.description, "description", MAX_MARKDOWN),
        notes=parse_text(request.notes, "notes", MAX_MARKDOWN),
        metadata_json=encode(decode(request.metadata_json)),
        run=RunName.parse(request.run) if request.run else None,
        run_display_name=parse_text(request.run_display_name, "run_display_name"),
    )


def committed_to_pb(committed: Committed) -> pb.CommitDraftResponse:
    """The answer to a commit."""
    return pb.CommitDraftResponse(
        version=version_to_pb(committed.version),
        deduplicated=committed.deduplicated,
        ignored_fields=committed.ignored_fields,
    )
