"""Lines that belong together: those of a text, those of a patch, and a value that stands below the name of a secret."""

from __future__ import annotations

import io
import re
from typing import TYPE_CHECKING, Final

from modelkeep._secret_names import Naming, naming

if TYPE_CHECKING:
    from collections.abc import Iterator

HIDDEN: Final = "***"
LITERAL: Final = r"[bfruBFRU]{0,2}(?:\"(?:[^\"\\]|\\.)*\"?|'(?:[^'\\]|\\.)*'?)"

_HUNK: Final = re.compile(r"@@ -\d+(?:,(?P<old>\d+))? \+\d+(?:,(?P<new>\d+))? @@")
_OPENS: Final = re.compile(
    r"(?<![\w.])(?P<name>[A-Za-z_][\w.-]{0,99}+)[\"']?\]?\s*+(?::\s*[\w.\[\], |]+?)?\s*(?::=|=>|=|:)"
    r"\s*(?:[\w.]{1,100}+)?[(\[{\\|>]*[+-]?\s*(?:#.*)?$"
)
"""`API_KEY = (`, `password = decode(`, `"token": \\`, `secret: |`: the value is below."""
_LITERALS: Final = re.compile(LITERAL)
_IN_BLOCK: Final = re.compile(r"(?P<name>\s*(?:- +)?(?:[\w.\"'-]+:\s+)?)(?P<value>[^\s#].*)")


def lines_of(text: str) -> Iterator[str]:
    """The lines of a text, with their ends. Only a newline ends one, as git and Python's parser have it."""
    return iter(io.StringIO(text, newline="\n"))


def parts_of(patch: str) -> Iterator[tuple[str, bool]]:
    """The lines of a patch, and whether each lies in a hunk: what is changed may look like a header there."""
    old = new = 0
    for line in lines_of(patch):
        begins = _HUNK.match(line) if old <= 0 and new <= 0 else None
        if begins is not None:
            old, new = (int(count or 1) for count in begins.groups())
            yield line, False
        elif old > 0 or new > 0 or line.startswith("\\"):
            old -= line[:1] in {"-", " ", "\n"}
            new -= line[:1] in {"+", " ", "\n"}
            yield line, True
        else:
            yield line, False


class Below:
    """Hides what stands on the lines below the name of a secret."""

    def __init__(self, *, is_code: bool) -> None:
        self._is_code = is_code
        self._indent = -1
        """How far the name is indented; -1 while there is none."""

    def take(self, line: str) -> str:
        """The next line, without what the name above it is set to."""
        text = line.strip()
        if self._indent >= 0 and text and not text.startswith("#"):
            hidden = self._hidden(line)
            if hidden is not None:
                return hidden
            self._indent = -1
        opens = _OPENS.search(line.rstrip("\r\n")) if text and len(line) < 1000 else None  # a longer line opens nothing
        if opens is not None and naming(opens["name"]) is Naming.SECRET:
            self._indent = len(line) - len(line.lstrip())
        return line

    def _hidden(self, line: str) -> str | None:
        """The line without its values; None when it does not belong to the name any more."""
        if self._is_code:
            return _LITERALS.sub(_hide_literal, line) if _LITERALS.match(line.lstrip()) else None
        if len(line) - len(line.lstrip()) <= self._indent:
            return None
        quoted = _LITERALS.match(line.lstrip())
        return _LITERALS.sub(_hide_literal, line) if quoted else _IN_BLOCK.sub(rf"\g<name>{HIDDEN}", line)


def _hide_literal(match: re.Match[str]) -> str:
    is_key = match.string[match.end() :].lstrip().startswith(":")
    quote = re.sub(r"^\w*", "", match[0])[:1]
    return match[0] if is_key else f"{quote}{HIDDEN}{quote}"
