"""Events on the wire: a class of `domain.event` is the message of the same name."""

from __future__ import annotations

import re
from dataclasses import asdict
from typing import Any, Final

from modelkeep.api.metadata.v1 import event_pb2 as event_pb
from modelkeep.api.metadata.v1 import metadata_maintenance_service_pb2 as maintenance_pb

from modelkeep_server.metadata.domain.event import Event, EventHead
from modelkeep_server.runtime.moments import to_timestamp

_WORD_BEGINS: Final = re.compile(r"(?<=[a-z])(?=[A-Z])")


def event_to_pb(event: Event) -> event_pb.Event:
    """An event."""
    kind = type(event.happening).__name__
    field = _WORD_BEGINS.sub("_", kind).lower()  # AliasMoved stands in the field alias_moved
    happening: dict[str, Any] = {field: getattr(event_pb, kind)(**asdict(event.happening))}
    return event_pb.Event(
        uid=event.uid,
        project=str(event.project),
        sequence=event.sequence,
        event_time=to_timestamp(event.event_time),
        actor=event.actor,
        **happening,
    )


def head_to_pb(head: EventHead) -> maintenance_pb.EventHead:
    """How far the event log of a project goes."""
    return maintenance_pb.EventHead(project=str(head.project), sequence=head.sequence)
