"""Values of messages as Python has them."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

from modelkeep.errors import InvalidArgument, Unimplemented
from modelkeep.names import shown

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from google.protobuf.internal.enum_type_wrapper import EnumTypeWrapper
    from google.protobuf.message import Message
    from google.protobuf.timestamp_pb2 import Timestamp


class Page(Protocol):
    """An answer of a List RPC."""

    next_page_token: str


P = TypeVar("P", bound=Page)
T = TypeVar("T")


def moment(timestamp: Timestamp) -> datetime:
    """The time, in UTC."""
    return timestamp.ToDatetime(UTC)


def moment_if_set(message: Message, field: str) -> datetime | None:
    """The time in a field; None when it is unset."""
    return moment(getattr(message, field)) if message.HasField(field) else None


def label(kind: EnumTypeWrapper, value: int, prefix: str) -> str:
    """The name of a value of an enum, without its prefix; `UNKNOWN_77` for one that only a newer server knows."""
    known = kind.DESCRIPTOR.values_by_number.get(value)
    return known.name.removeprefix(prefix) if known is not None else f"UNKNOWN_{value}"


def unknown_plan(what: str) -> Unimplemented:
    """A server answers in a way that this client never heard of."""
    return Unimplemented(f"the server is newer than this client, which does not know its way to {what}; update modelkeep")


def require_text(**given: str | None) -> None:
    """Raise InvalidArgument, which names it, for what is no text, or cannot be said in UTF-8: no message would take it."""
    for field, value in given.items():
        if value is not None and not isinstance(value, str):
            raise InvalidArgument(f"the {field} is {shown(value)}; expected text", field=field)
        try:
            (value or "").encode()
        except UnicodeEncodeError as error:
            raise not_text(error, field) from None


def not_text(error: UnicodeEncodeError, field: str = "") -> InvalidArgument:
    """What a text that UTF-8 cannot hold is told as: most often it came as bytes that are no UTF-8."""
    shown = ascii(error.object[:80])
    message = f"{f'{field}: ' if field else ''}{shown} is not text: its character {error.start + 1} cannot be written in UTF-8"
    return InvalidArgument(message, field=field, value=shown)


def pages(call: Callable[[Any], P], request: Any, items: Callable[[P], Iterable[T]]) -> Iterator[T]:
    """The items of all pages, fetched as they are wanted."""
    while True:
        page = call(request)
        yield from items(page)
        if not page.next_page_token:
            return
        request.page_token = page.next_page_token


def last(resource_name: str) -> str:
    """The last part of a resource name."""
    return resource_name.rpartition("/")[2]
