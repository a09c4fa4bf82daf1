"""What messages of all services share: request ids, pages and field masks."""

from __future__ import annotations

import hashlib
from typing import Protocol
from uuid import UUID

from google.protobuf.field_mask_pb2 import FieldMask
from google.protobuf.message import Message
from modelkeep.errors import InvalidArgument

from modelkeep_server.database.paging import Page
from modelkeep_server.runtime.callers import Caller
from modelkeep_server.runtime.calls import Call


class _Paged(Protocol):
    @property
    def page_size(self) -> int: ...
    @property
    def page_token(self) -> str: ...


def call_from_pb(request: Message, caller: Caller) -> Call:
    """A call that writes, by its request (SEM-14). Raises InvalidArgument when its `request_id` is no UUID4.

    The name of the RPC is that of its request's type; lint sees to that. The fingerprint is over all other fields.
    """
    method = type(request).__name__.removesuffix("Request")
    request_id: str = request.request_id  # type: ignore[attr-defined]
    if not _is_uuid4(request_id):
        message = f"request_id is {request_id[:100]!r}; draw a UUID4 for each call, and keep it when you repeat the call"
        raise InvalidArgument(message, field="request_id", value=request_id[:100])
    body = type(request)()
    body.CopyFrom(request)
    body.ClearField("request_id")
    return Call(caller, method, request_id, hashlib.sha256(body.SerializeToString(deterministic=True)).digest())


def page_from_pb(request: _Paged) -> Page:
    """Which page of a list is asked for. Raises InvalidArgument."""
    return Page.asked(request.page_size, request.page_token)


def fields_from_pb(mask: FieldMask, editable: tuple[str, ...]) -> frozenset[str]:
    """The fields that a mask names. Raises InvalidArgument when it names none, or one that cannot be edited."""
    choice = " or ".join(f"{field!r}" for field in editable)
    if not mask.paths:
        raise InvalidArgument(f"update_mask is empty; name what to change: {choice}", field="update_mask")
    for path in mask.paths:
        if path not in editable:
            message = f"{path[:100]!r} cannot be edited; update_mask may name {choice}"
            raise InvalidArgument(message, field="update_mask", value=path[:100])
    return frozenset(mask.paths)


def _is_uuid4(text: str) -> bool:
    try:
        uuid = UUID(text)
    except ValueError:
        return False
    return uuid.version == 4 and str(uuid) == text
