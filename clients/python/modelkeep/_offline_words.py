"""What a server would not take is refused before it is recorded: it would stop the sync of a run, when nothing can be done."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from modelkeep.errors import InvalidArgument, LimitExceeded
from modelkeep.names import MAX_LINE_BYTES, MAX_MARKDOWN_BYTES

if TYPE_CHECKING:
    from collections.abc import Collection

MAX_LABELS: Final = 100
"""How many tags, or aliases, one thing may have; as many as a server takes unless its settings say otherwise."""
_MARKDOWN: Final = frozenset({"description", "notes"})


def require_words(**words: str) -> None:
    """Raise LimitExceeded for a text that is too long for its field, InvalidArgument for one with a NUL character."""
    for field, text in words.items():
        size, most = len(text.encode()), MAX_MARKDOWN_BYTES if field in _MARKDOWN else MAX_LINE_BYTES
        if size > most:
            raise LimitExceeded(f"{field} has {size:,} bytes; at most {most:,} are allowed", field=field, limit=most)
        if "\0" in text:
            raise InvalidArgument(f"{field} has a NUL character, which no text may have", field=field)


def require_few(**labels: Collection[str]) -> None:
    """Raise LimitExceeded for more tags, or aliases, than one thing may have."""
    for field, given in labels.items():
        if len(set(given)) > MAX_LABELS:
            message = f"there are {len(set(given))} {field}; at most {MAX_LABELS} are allowed: leave some out"
            raise LimitExceeded(message, field=field, limit=MAX_LABELS)
