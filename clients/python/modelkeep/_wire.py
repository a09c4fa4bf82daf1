"""Values of messages as Python has them."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

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
