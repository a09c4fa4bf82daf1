"""Field masks: which fields an update changes."""

from __future__ import annotations

from google.protobuf.field_mask_pb2 import FieldMask
from modelkeep.errors import InvalidArgument


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
