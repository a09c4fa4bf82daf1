"""Errors on the wire: a class of `modelkeep.errors` to `google.rpc.Status`, and back to the same class.

Servers send a Status with an ErrorInfo (reason, domain, metadata) and, where waiting helps, a RetryInfo. The pair is used by
the SDK and by the services when they call each other.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, cast

from google.protobuf.duration_pb2 import Duration
from google.rpc.error_details_pb2 import ErrorInfo, RetryInfo
from google.rpc.status_pb2 import Status

from modelkeep.errors import DOMAIN, Code, ModelkeepError, rebuild

if TYPE_CHECKING:
    from collections.abc import Iterable

    import grpc

DETAILS_HEADER: Final = "grpc-status-details-bin"
"""The trailing metadata in which gRPC carries a Status."""
REQUEST_ID_HEADER: Final = "x-request-id"
"""The metadata that carries the id of a call, both ways."""
RETRY_AFTER: Final = "retry_after_seconds"
"""The key of an error's metadata that says when to try again."""

# All trailing metadata of a call must fit into the 8 KiB that peers and proxies accept. The message travels twice: in the
# Status, and percent-encoded (up to three times as long) beside it.
MAX_MESSAGE_BYTES: Final = 1024
MAX_METADATA_BYTES: Final = 3072

_CANCELLED_HERE: Final = ("Locally cancelled", "Channel closed")
"""How gRPC begins to say that this side cancelled a call. Any other CANCELLED without a Status is a call that the peer dropped:
grpc's asyncio server does that to calls that reach it in the very moment in which it stops."""

_UNKNOWN: Final = 2
_REASONS: Final = {
    Code.CANCELLED: "CANCELLED",
    Code.DEADLINE_EXCEEDED: "DEADLINE_EXCEEDED",
    Code.PERMISSION_DENIED: "PERMISSION_DENIED",
    Code.UNIMPLEMENTED: "UNIMPLEMENTED",
    Code.INTERNAL: "INTERNAL_ERROR",
    Code.UNAVAILABLE: "SERVICE_UNAVAILABLE",
}
"""What a status without ErrorInfo stands for: gRPC itself raised it, or a proxy on the way."""


def to_status(error: ModelkeepError) -> Status:
    """The Status that carries `error`. A long message or long metadata is cut, so that it always fits into a trailer."""
    status = Status(code=int(error.code), message=_cut(error.message, MAX_MESSAGE_BYTES))
    metadata = _fitting(error.metadata)
    info = ErrorInfo(reason=error.reason, domain=DOMAIN, metadata=metadata)
    status.details.add().Pack(info)
    seconds = _seconds(error.metadata.get(RETRY_AFTER, ""))
    if seconds is not None:
        delay = Duration()
        delay.FromNanoseconds(int(seconds * 1e9))
        status.details.add().Pack(RetryInfo(retry_delay=delay))
    return status


def from_status(status: Status, request_id: str = "") -> ModelkeepError:
    """The error that a Status stands for."""
    info, retry = ErrorInfo(), RetryInfo()
    for detail in status.details:
        if detail.Is(ErrorInfo.DESCRIPTOR):
            detail.Unpack(info)
        elif detail.Is(RetryInfo.DESCRIPTOR):
            detail.Unpack(retry)
    metadata = dict(info.metadata)
    if retry.HasField("retry_delay"):
        metadata.setdefault(RETRY_AFTER, f"{retry.retry_delay.ToNanoseconds() / 1e9:g}")
    code = Code.INTERNAL if status.code in {0, _UNKNOWN} else status.code
    reason = info.reason if info.domain == DOMAIN else _REASONS.get(cast("Code", code), "")
    return rebuild(code, reason, status.message, metadata, request_id)


def from_rpc_error(error: grpc.RpcError) -> ModelkeepError:
    """The error that a failed call stands for: of a synchronous stub, or of an asynchronous one."""
    call = cast("Any", error)  # grpc raises objects that are a Call too; the aio ones have the same three methods
    request_id, details = "", b""
    for key, value in cast("Iterable[tuple[str, str | bytes]]", call.trailing_metadata() or ()):
        if key == REQUEST_ID_HEADER:
            request_id = value if isinstance(value, str) else value.decode(errors="replace")
        elif key == DETAILS_HEADER and isinstance(value, bytes):
            details = value
    number = int(call.code().value[0])
    status = _parsed(details)
    if status is None or status.code != number:
        message = call.details() or call.code().name
        if number == Code.CANCELLED and not message.startswith(_CANCELLED_HERE):
            number, message = int(Code.UNAVAILABLE), f"the server dropped the call ({message}); it may be stopping"
        status = Status(code=number, message=message)
    return from_status(status, request_id)


def retry_after_seconds(error: ModelkeepError) -> float | None:
    """How long the server asks to wait before the next try; None when it does not say."""
    return _seconds(error.metadata.get(RETRY_AFTER, ""))


def _parsed(details: bytes) -> Status | None:
    if not details:
        return None
    try:
        return Status.FromString(details)
    except Exception:  # noqa: BLE001 - protobuf's implementations raise different classes; the plain status is enough then
        return None


def _seconds(text: str) -> float | None:
    try:
        seconds = float(text)
    except ValueError:
        return None
    return seconds if 0 <= seconds <= 86_400 else None


def _cut(text: str, most_bytes: int) -> str:
    """`text` in at most so many bytes of UTF-8, with an ellipsis where something is missing."""
    data = text.encode(errors="replace")
    if len(data) <= most_bytes:
        return data.decode()
    return data[: max(most_bytes - 3, 0)].decode(errors="ignore") + "…"


def _fitting(metadata: dict[str, str]) -> dict[str, str]:
    """The same metadata, the longest values cut until all of it fits."""
    cut = {key[:64]: _cut(value, MAX_METADATA_BYTES) for key, value in list(metadata.items())[:32]}
    while sum(len(key) + len(value.encode()) for key, value in cut.items()) > MAX_METADATA_BYTES:
        longest = max(cut, key=lambda key: len(cut[key].encode()))
        size = len(cut[longest].encode())
        if size <= 8:
            break  # only keys are left: at most 32 of at most 64 bytes
        cut[longest] = _cut(cut[longest], size // 2)
    return cut
