"""Drafts on the wire."""

from __future__ import annotations

from modelkeep.api.metadata.v1 import draft_pb2 as pb
from modelkeep.api.metadata.v1 import metadata_service_pb2 as service_pb
from modelkeep.names import CollectionName, ProjectName, parse_identifier

from modelkeep_server.metadata.convert.moment import to_timestamp
from modelkeep_server.metadata.domain.draft import Draft, DraftState

_STATES = {
    DraftState.OPEN: pb.DRAFT_STATE_OPEN,
    DraftState.COMMITTED: pb.DRAFT_STATE_COMMITTED,
    DraftState.ABORTED: pb.DRAFT_STATE_ABORTED,
    DraftState.EXPIRED: pb.DRAFT_STATE_EXPIRED,
}


def draft_to_pb(draft: Draft) -> pb.Draft:
    """A draft."""
    return pb.Draft(
        name=str(draft.name),
        collection=str(draft.collection),
        type=draft.type,
        state=_STATES[draft.state],
        create_time=to_timestamp(draft.create_time),
        expire_time=to_timestamp(draft.expire_time),
        version=str(draft.version or ""),
    )


def draft_from_pb(request: service_pb.CreateDraftRequest) -> tuple[ProjectName, CollectionName, str]:
    """The project, the collection and the type of a draft to open. Raises InvalidName."""
    collection = CollectionName.parse(request.draft.collection)
    return ProjectName.parse(request.parent), collection, parse_identifier(request.draft.type, "type")
