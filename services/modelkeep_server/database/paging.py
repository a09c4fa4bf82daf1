"""Pages: how much of a list is asked for, and the opaque token that names the next page."""

from __future__ import annotations

import base64
import binascii
import hashlib
import json
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final, Generic, TypeVar

from modelkeep.errors import InvalidArgument, InvalidPageToken

DEFAULT_SIZE: Final = 50
MAX_SIZE: Final = 1000
MAX_TOKEN_CHARACTERS: Final = 8192

_LARGEST: Final = 253_402_300_799_999_999
"""The last moment of the year 9999 in microseconds; no number in a position is larger."""
_UNSTORABLE = re.compile(r"[\x00\ud800-\udfff]")

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Page:
    """A request for a page, as it came over the wire."""

    size: int = DEFAULT_SIZE
    token: str = ""

    @classmethod
    def asked(cls, size: int, token: str, *, default: int = DEFAULT_SIZE, most: int = MAX_SIZE) -> Page:
        """A page of `size` items: 0 means `default`, more than `most` means that. Raises InvalidArgument."""
        if size < 0:
            raise InvalidArgument(f"page_size is {size}; it must not be negative", field="page_size", value=size)
        return cls(min(size or default, most), token)

    def position(self, *query: object, of: Sequence[type[int | str]] = (str,)) -> list[Any] | None:
        """Where the page begins: the values given to `token` for the same query, of the types `of`; None for the first page.

        Raises InvalidPageToken when the token is not ours or belongs to another query. Nothing in it is trusted: what comes
        out has the right types, and values that every database can hold.
        """
        if not self.token:
            return None
        match _decode(self.token):
            case {"q": fingerprint, "p": [*position]} if fingerprint == _fingerprint(query) and _fits(position, of):
                return position
        message = "the page token is not one of this list; ask for the first page again, without a token"
        raise InvalidPageToken(message, field="page_token")


@dataclass(frozen=True, slots=True)
class Listing(Generic[T]):
    """One page of a list."""

    items: tuple[T, ...]
    next_token: str = ""


def token(position: list[Any], *query: object) -> str:
    """The opaque name of what follows `position` in the list that `query` asks for."""
    text = json.dumps({"q": _fingerprint(query), "p": position}, separators=(",", ":"), ensure_ascii=False)
    # A value of somebody's metadata may hold half a character; it comes back, or is refused, as such.
    return base64.urlsafe_b64encode(text.encode(errors="surrogatepass")).decode("ascii")


def _decode(text: str) -> Any:
    if len(text) > MAX_TOKEN_CHARACTERS:
        return None
    try:
        return json.loads(base64.urlsafe_b64decode(text.encode("ascii")).decode(errors="surrogatepass"))
    except (ValueError, binascii.Error, RecursionError):
        return None


def _fits(position: list[Any], types: Sequence[type[int | str]]) -> bool:
    return len(position) == len(types) and all(map(_is_a, position, types))


def _is_a(value: object, expected: type[int | str]) -> bool:
    match value:
        case bool():
            return False
        case int():
            return expected is int and 0 <= value <= _LARGEST
        case str():
            return expected is str and _UNSTORABLE.search(value) is None
    return False


def _fingerprint(query: tuple[object, ...]) -> str:
    return hashlib.sha256("\0".join(str(part) for part in query).encode()).hexdigest()[:16]
