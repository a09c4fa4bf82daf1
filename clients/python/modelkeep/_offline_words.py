"""What a server would not take is refused before it is recorded: it would stop the sync of a run, when nothing can be done."""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Any, Final

from modelkeep.errors import InvalidMetadata, LimitExceeded
from modelkeep.names import MAX_LINE_BYTES, MAX_MARKDOWN_BYTES, parse_words

if TYPE_CHECKING:
    from collections.abc import Collection

MAX_LABELS: Final = 100
"""How many tags, or aliases, one thing may have; as many as a server takes unless its settings say otherwise."""
_UNQUOTED: Final = re.compile(r"[\w-]+(?:\.[\w-]+)*")
_MARKDOWN: Final = frozenset({"description", "notes"})


def require_words(**words: str) -> None:
    """Raise LimitExceeded for a text that is too long for its field, InvalidArgument for one with a NUL character."""
    for field, text in words.items():
        parse_words(text, field, MAX_MARKDOWN_BYTES if field in _MARKDOWN else MAX_LINE_BYTES)


def require_few(**labels: Collection[str]) -> None:
    """Raise LimitExceeded for more tags, or aliases, than one thing may have."""
    for field, given in labels.items():
        if len(set(given)) > MAX_LABELS:
            message = f"there are {len(set(given))} {field}; at most {MAX_LABELS} are allowed: leave some out"
            raise LimitExceeded(message, field=field, limit=MAX_LABELS)


def require_number(metadata_json: str, only_if_better: tuple[str, str] | None) -> None:
    """Raise InvalidMetadata where there is no number to compare. What a key with quotes in it means, a server knows."""
    if only_if_better is None or _UNQUOTED.fullmatch(only_if_better[0]) is None:
        return
    found: Any = json.loads(metadata_json)
    for key in only_if_better[0].split("."):
        found = found.get(key) if isinstance(found, dict) else None
    if isinstance(found, bool) or not isinstance(found, int | float):
        where = f"metadata.{only_if_better[0]}"
        message = (
            f"only_if_better compares {where}, and the new metadata has no number there (NaN is none); put one in, or log"
            " without the condition"
        )
        raise InvalidMetadata(message, field=where)
