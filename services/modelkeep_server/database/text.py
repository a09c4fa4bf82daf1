"""Words that people write: bounded, and such that every database can hold them."""

from __future__ import annotations

from typing import Final

from modelkeep.errors import InvalidArgument, LimitExceeded

MAX_LINE: Final = 1024
"""Most bytes of a reason, a display name, or the text by which a version was asked for."""
MAX_MARKDOWN: Final = 64 * 1024
"""Most bytes of a description or of notes."""


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
