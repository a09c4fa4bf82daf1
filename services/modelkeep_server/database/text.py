"""Words that people write: bounded, and such that every database can hold them."""

from __future__ import annotations

from typing import Final

from modelkeep.errors import InvalidArgument, LimitExceeded
from modelkeep.names import MAX_LINE_BYTES, MAX_MARKDOWN_BYTES

MAX_LINE: Final = MAX_LINE_BYTES
MAX_MARKDOWN: Final = MAX_MARKDOWN_BYTES


def parse_text(text: str, field: str, most: int = MAX_LINE) -> str:
    """Check a text of at most `most` bytes of UTF-8: so a page of a thousand lines fits into one message.

    Raises LimitExceeded, InvalidArgument.
    """
    size = len(text.encode())
    if size > most:
        raise LimitExceeded(f"{field} has {size:,} bytes; at most {most:,} are allowed", field=field, limit=most)
    if "\0" in text:
        raise InvalidArgument(f"{field} has a NUL character, which no text may have", field=field)
    return text
