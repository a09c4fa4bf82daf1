"""What a filter means, once it is read and checked: a tree of tests that are true or false of a row, never unknown."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from typing import TypeAlias


class Operator(Enum):
    """How a value is compared."""

    EQ = "="
    NE = "!="
    LT = "<"
    LE = "<="
    GT = ">"
    GE = ">="
    HAS = ":"


@dataclass(frozen=True, slots=True)
class Pattern:
    """Text with wildcards: any text may stand between two pieces. One piece is plain text."""

    pieces: tuple[str, ...]

    @property
    def is_plain(self) -> bool:
        """Whether it has no wildcard."""
        return len(self.pieces) == 1

    @property
    def text(self) -> str:
        """As it was written, but for escapes."""
        return "*".join(self.pieces)

    def inside(self) -> Pattern:
        """A pattern that fits what has this one somewhere in it."""
        before = ("",) if self.pieces[0] else ()
        after = ("",) if self.pieces[-1] else ()
        return Pattern((*before, *self.pieces, *after)) if self.text else Pattern(("", ""))

    def fits(self, text: str) -> bool:
        """Whether a text fits it."""
        if self.is_plain:
            return text == self.pieces[0]
        first, *middle, last = self.pieces
        if not (text.startswith(first) and text.endswith(last) and len(text) >= len(first) + len(last)):
            return False
        place, end = len(first), len(text) - len(last)
        for piece in middle:  # the first place that fits leaves the most room for what follows
            found = text.find(piece, place, end)
            if found < 0:
                return False
            place = found + len(piece)
        return True


@dataclass(frozen=True, slots=True)
class Ago:
    """A moment that many microseconds before the statement runs."""

    micros: int


Scalar: TypeAlias = int | str | bytes | Ago
"""What a column holds; a moment counts as microseconds since 1970."""
JsonScalar: TypeAlias = str | int | float | bool | None


@dataclass(frozen=True, slots=True)
class Constant:
    """Always, or never."""

    value: bool


@dataclass(frozen=True, slots=True)
class Compare:
    """A column is larger, smaller, equal or not; false of a row that has no value there."""

    field: str
    operator: Operator
    value: Scalar


@dataclass(frozen=True, slots=True)
class Present:
    """A column has a value, or a flag is true."""

    field: str


@dataclass(frozen=True, slots=True)
class Fits:
    """The text of a column fits a pattern; perhaps whatever the case of the letters A to Z."""

    field: str
    pattern: Pattern
    ignore_case: bool = False


@dataclass(frozen=True, slots=True)
class HasLabel:
    """One of several labels fits a pattern."""

    field: str
    pattern: Pattern


@dataclass(frozen=True, slots=True)
class JsonCompare:
    """The value at a path of a JSON object is of the type of `value`, and compares like that.

    With null on the other side, `=` asks for null, and `!=` for any other value.
    """

    field: str
    path: tuple[str, ...]
    operator: Operator
    value: JsonScalar


@dataclass(frozen=True, slots=True)
class JsonFits:
    """The value at a path of a JSON object is text that fits a pattern."""

    field: str
    path: tuple[str, ...]
    pattern: Pattern


@dataclass(frozen=True, slots=True)
class JsonHas:
    """The value at a path of a JSON object is a list with such an element, an object with such a key, a text with such a part.

    Any other value has only itself.
    """

    field: str
    path: tuple[str, ...]
    value: JsonScalar | Pattern


@dataclass(frozen=True, slots=True)
class JsonPresent:
    """A JSON object has the path, whatever is there; without a path, it is not empty."""

    field: str
    path: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Not:
    """The opposite."""

    term: Expression


@dataclass(frozen=True, slots=True)
class Every:
    """All of them."""

    terms: tuple[Expression, ...]


@dataclass(frozen=True, slots=True)
class Some:
    """At least one of them."""

    terms: tuple[Expression, ...]


Expression: TypeAlias = (
    Constant | Compare | Present | Fits | HasLabel | JsonCompare | JsonFits | JsonHas | JsonPresent | Not | Every | Some
)

EVERYTHING = Constant(True)


@dataclass(frozen=True, slots=True)
class By:
    """One thing to order by; rows that have no value there come last, whatever the direction."""

    field: str
    path: tuple[str, ...] = ()
    descending: bool = False


@dataclass(frozen=True, slots=True)
class Query:
    """What a list is asked for. Its texts are what page tokens are bound to."""

    where: Expression = EVERYTHING
    order: tuple[By, ...] = ()
    """Empty for the order that the list has by itself."""
    filter: str = ""
    order_by: str = ""


ALL = Query()
"""Everything, in the order that the list has by itself."""
