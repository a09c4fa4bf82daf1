"""Drafts on the wire."""

from __future__ import annotations

import re
from typing import Final

from modelkeep.api.metadata.v1 import draft_pb2 as pb
from modelkeep.api.metadata.v1 import metadata_service_pb2 as service_pb
from modelkeep.errors import InvalidArgument
from modelkeep.names import CollectionName, ProjectName, VersionName, parse_identifier

from modelkeep_server.metadata.convert.rule import comparison_to_pb
from modelkeep_server.metadata.domain.draft import Draft, DraftState
from modelkeep_server.runtime.moments import to_timestamp

MAX_DISTRIBUTED_ID: Final = 128
"""Most characters of what the writers of one version call their draft."""
_CONTROL: Final = re.compile(r"[\x00-\x1f\x7f-\x9f\ud800-\udfff]")

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
        base=str(draft.base.version) if draft.base else "",
        distributed_id=draft.distributed_id,
        creator=draft.creator,
        comparison=comparison_to_pb(draft.outcome.comparison if draft.outcome else None),
    )


def draft_from_pb(
    request: service_pb.CreateDraftRequest,
) -> tuple[tuple[ProjectName, CollectionName, str], VersionName | None, str]:
    """The project, the collection, the type, the base and the distributed id of a draft to open.

    Raises InvalidName, InvalidArgument.
    """
    project, draft = ProjectName.parse(request.parent), request.draft
    collection, type_ = CollectionName.parse(draft.collection), parse_identifier(draft.type, "type")
    base = VersionName.parse(draft.base) if draft.base else None
    return (project, collection, type_), base, distributed_id_from_pb(draft.distributed_id, "draft.distributed_id")


def state_from_pb(state: pb.DraftState) -> DraftState | None:
    """The state that drafts are to be in; None for any. Raises InvalidArgument."""
    if state == pb.DRAFT_STATE_UNSPECIFIED:
        return None
    found = next((mine for mine, wire in _STATES.items() if wire == state), None)
    if found is None:
        raise InvalidArgument(f"there is no state of drafts with the number {state}", field="state", value=state)
    return found


def distributed_id_from_pb(text: str, field: str = "distributed_id") -> str:
    """What the writers of one version call their draft, or nothing. Raises InvalidArgument."""
    if len(text) > MAX_DISTRIBUTED_ID or text != text.strip() or _CONTROL.search(text):
        message = (
            f"{text[:50]!r} is no distributed id: it has 1 to {MAX_DISTRIBUTED_ID} characters, no control characters, and no "
            "white space at its ends"
        )
        raise InvalidArgument(message, field=field, value=text[:200].encode(errors="replace").decode())
    return text
