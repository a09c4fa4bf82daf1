"""How the command line answers: results on stdout, as tables or as JSON; messages on stderr."""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from datetime import UTC, datetime
from itertools import islice
from typing import TYPE_CHECKING, Any, Final

from modelkeep._printable import printable

if TYPE_CHECKING:
    from modelkeep.errors import ModelkeepError

Cell = Callable[[Any], str]
"""The text of an item in a column."""
Columns = Mapping[str, Cell] | Sequence[tuple[str, Cell]]
"""The columns of a table by their headings; pairs where two may have the same one."""

ROWS_AT_ONCE: Final = 500
"""A table is laid out this many rows at a time, so that a list of any length can be shown."""
MAX_COUNT: Final = 2**31 - 1
"""What an option that counts takes at most: what a message of the service holds."""
_UNSHOWN: Final = re.compile("[\x7f-\x9f\u200e\u200f\u2028-\u202e\u2066-\u2069]")
"""What steers a terminal, or turns what it shows around, and JSON allows as it is."""


class Output:
    """The answer of one command."""

    def __init__(self, *, as_json: bool) -> None:
        self.as_json = as_json

    def answer(self, data: Mapping[str, Any], *lines: str) -> None:
        """One result: `data` as JSON, or the lines for people."""
        if self.as_json:
            sys.stdout.write(_json(data) + "\n")
        else:
            sys.stdout.writelines(f"{printable(line)}\n" for line in lines)

    def details(self, data: Mapping[str, Any], shown: Mapping[str, str]) -> None:
        """One result: `data` as JSON, or the non-empty lines of `shown`, name by name."""
        width = max(map(len, shown), default=0)
        self.answer(data, *(line for name, text in shown.items() if text for line in _indented(f"{name:{width}}  ", text)))

    def table(
        self,
        items: Iterable[Any],
        to_json: Callable[[Any], Mapping[str, Any]],
        columns: Columns,
        empty: str,
    ) -> None:
        """A list: a JSON array of `to_json`, or a table of columns. `empty` is the note when there is none."""
        if self.as_json:
            _write_array(to_json(item) for item in items)
            return
        pairs = list(columns.items() if isinstance(columns, Mapping) else columns)
        remaining, first = iter(items), True
        while batch := list(islice(remaining, ROWS_AT_ONCE)):
            sys.stdout.writelines(_table(batch, pairs, header=first))
            first = False
        if first:
            self.note(empty)

    def note(self, text: str) -> None:
        """A message for people, of one line or several."""
        sys.stderr.write(f"{printable(text, lines=True)}\n")

    def note_each(self, lines: str) -> None:
        """Lines for people; with JSON the error that follows holds them."""
        if not self.as_json:
            self.note(lines)

    def error(self, error: ModelkeepError) -> None:
        """What went wrong, on stderr: one JSON object, or one line."""
        if self.as_json:
            code = error.code.name
            about = {"code": code, "reason": error.reason or code, "message": error.message}
            data = {"error": {**about, "metadata": error.metadata, "request_id": error.request_id}}
            sys.stderr.write(_json(data) + "\n")
        else:
            self.note(f"error: {error}")


def _json(data: Mapping[str, Any]) -> str:
    text = json.dumps(data, indent=2, ensure_ascii=False, default=_plain)
    return _UNSHOWN.sub(lambda found: f"\\u{ord(found[0]):04x}", text)


def _plain(value: Any) -> str:
    return when(value) if isinstance(value, datetime) else str(value)


def _write_array(items: Iterator[Mapping[str, Any]]) -> None:
    mark = "["
    for item in items:
        sys.stdout.write(f"{mark}\n{_json(item)}")
        mark = ","
    sys.stdout.write("[]\n" if mark == "[" else "\n]\n")


def _table(items: Sequence[Any], columns: Sequence[tuple[str, Cell]], *, header: bool) -> Iterator[str]:
    """The lines of a table, each column as wide as its widest cell on a terminal."""
    from rich.cells import cell_len  # noqa: PLC0415 - JSON and help need no tables

    rows = [[printable(cell(item)) for _, cell in columns] for item in items]
    rows = [[printable(heading) for heading, _ in columns], *rows] if header else rows
    widths = [max(map(cell_len, column)) for column in zip(*rows, strict=True)]
    for row in rows:
        yield "  ".join(text + " " * (width - cell_len(text)) for text, width in zip(row, widths, strict=True)).rstrip() + "\n"


def _indented(prefix: str, text: str) -> Iterator[str]:
    """The lines of a text under each other, the first one behind its name."""
    for line in printable(text, lines=True).splitlines():
        yield prefix + line
        prefix = " " * len(prefix)


def when(moment: datetime | None) -> str:
    """A time in RFC 3339, UTC; an empty text when there is none."""
    return "" if moment is None else moment.astimezone(UTC).isoformat().replace("+00:00", "Z")


def shown_when(moment: datetime | None) -> str:
    """A time for people, in their own zone."""
    return "" if moment is None else moment.astimezone().strftime("%Y-%m-%d %H:%M:%S")


def counted(count: int, what: str, many: str = "") -> str:
    """A number of things for people: `1 run`, `1,200 runs`; `many` is the plural where it is not `what` and an s."""
    return f"{count:,} {what if count == 1 else many or f'{what}s'}"


def files(count: int) -> str:
    """A number of files for people: `1 file`, `1,200 files`."""
    return counted(count, "file")


def size(count: float) -> str:
    """A number of bytes for people: `1.5 MiB`."""
    for unit in ("B", "KiB", "MiB", "GiB", "TiB"):
        if count < 1024 or unit == "TiB":
            break
        count /= 1024
    return f"{count:.0f} B" if unit == "B" else f"{count:.1f} {unit}"
