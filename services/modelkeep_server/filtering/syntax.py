"""The grammar of filters and orders: from text to a tree of what was written, before anybody asks what it means.

The grammar is a part of AIP-160. What that leaves to taste is refused here: `a AND b OR c` needs parentheses, because AIP-160
and SQL group it differently.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, Any, Final, TypeAlias

from modelkeep_server.filtering.complaint import FilterError, shown
from modelkeep_server.filtering.expression import Operator, Pattern

if TYPE_CHECKING:
    from lark import Lark, Token

MAX_CHARACTERS: Final = 4096
MAX_TERMS: Final = 100
MAX_DEPTH: Final = 32
MAX_KEYS: Final = 32
MAX_WILDCARDS: Final = 8
"""In one value."""
MAX_SOUGHT: Final = 256
"""Characters of a value that is sought inside of texts."""

_GRAMMAR: Final = r"""
    filter: expression
    ?expression: term
        | term (_AND? term)+ -> every
        | term (_OR term)+ -> some
    ?term: simple
        | (_NOT | MINUS) simple -> negation
    ?simple: restriction
        | "(" expression ")"
    restriction: path [OPERATOR value]
    value: BARE | STRING

    order: by ("," by)*
    by: [MINUS] path [DIRECTION]

    path: NAME ("." (KEY | STRING))*

    _AND.2: /AND(?![\w-])/
    _OR.2: /OR(?![\w-])/
    _NOT.2: /NOT(?![\w-])/
    DIRECTION.2: /(asc|desc)(?![\w-])/
    MINUS: "-"
    OPERATOR: /!=|<=|>=|[=<>:]/
    NAME: /[^\W\d][\w-]*/
    KEY: /[\w-]+/
    BARE: /(?!(?:AND|OR|NOT)(?![^\s()]))[^\s()"'=<>!,]+/
    STRING: /"(?:[^"\\]|\\.)*"|'(?:[^'\\]|\\.)*'/s
    %ignore /\s+/
"""
_WANTED: Final = {
    "filter": 'a comparison such as name = "bert-*"',
    "order": "a field such as create_time",
    "path": "a field such as metadata.acc",
}
_PARENTHESES: Final = re.compile(r""""(?:[^"\\]|\\.)*"|'(?:[^'\\]|\\.)*'|[()]""", re.DOTALL)
_ESCAPES: Final = {"n": "\n", "t": "\t", "r": "\r"}
_ESCAPE: Final = re.compile(r"\\u([0-9A-Fa-f]{4})|\\(.)", re.DOTALL)
_UNSTORABLE: Final = re.compile(r"[\x00\ud800-\udfff]")


@dataclass(frozen=True, slots=True)
class Path:
    """A field, and the way further down."""

    field: str
    keys: tuple[str, ...]
    position: int
    written: str


@dataclass(frozen=True, slots=True)
class Value:
    """What a field is compared with."""

    pattern: Pattern
    position: int
    is_quoted: bool

    @property
    def text(self) -> str:
        """As it was written, but for quotes and escapes."""
        return self.pattern.text

    @property
    def is_star(self) -> bool:
        """Whether it is a bare `*`, which asks whether anything is there."""
        return not self.is_quoted and self.pattern.pieces == ("", "")


@dataclass(frozen=True, slots=True)
class Restriction:
    """One comparison, or a field by itself."""

    path: Path
    operator: Operator | None
    operator_position: int
    value: Value | None


@dataclass(frozen=True, slots=True)
class Negation:
    """NOT."""

    term: Node


@dataclass(frozen=True, slots=True)
class Junction:
    """Terms with AND or OR between them."""

    terms: tuple[Node, ...]
    is_or: bool


Node: TypeAlias = Restriction | Negation | Junction


@dataclass(frozen=True, slots=True)
class Direction:
    """One part of an order."""

    path: Path
    descending: bool


def read_filter(text: str) -> Node:
    """The tree of a filter that is not empty. Raises FilterError."""
    _bound(text)
    _bound_depth(text)
    builder, tree = _parse(text, "filter")
    if builder.terms > MAX_TERMS:
        raise FilterError(f"there are {builder.terms} comparisons; at most {MAX_TERMS} are allowed", 0, limit=MAX_TERMS)
    return tree  # type: ignore[no-any-return]


def read_order(text: str) -> tuple[Direction, ...]:
    """The parts of an order that is not empty. Raises FilterError."""
    _bound(text)
    return tuple(_parse(text, "order")[1])


def read_path(text: str) -> Path:
    """One field, and nothing else. Raises FilterError."""
    _bound(text)
    path: Path = _parse(text, "path")[1]
    return path


def _bound(text: str) -> None:
    if len(text) > MAX_CHARACTERS:
        message = f"there are {len(text):,} characters; at most {MAX_CHARACTERS:,} are allowed"
        raise FilterError(message, MAX_CHARACTERS, limit=MAX_CHARACTERS)
    if unstorable := _UNSTORABLE.search(text):
        raise FilterError("this character is in no text that is kept here", unstorable.start())


def _bound_depth(text: str) -> None:
    depth = 0
    for token in _PARENTHESES.finditer(text):
        depth += {"(": 1, ")": -1}.get(token[0], 0)
        if depth > MAX_DEPTH:
            raise FilterError(f"parentheses are more than {MAX_DEPTH} deep", token.start(), limit=MAX_DEPTH)


def _parse(text: str, start: str) -> tuple[_Builder, Any]:
    from lark.exceptions import UnexpectedCharacters, UnexpectedToken  # noqa: PLC0415 - a server that is asked no filter needs no lark

    parser = _parser().parse_interactive(text, start=start)
    try:
        tree = parser.resume_parse()  # type: ignore[no-untyped-call]
    except UnexpectedCharacters as error:
        raise _stuck(text, error.pos_in_stream or 0, error.allowed or set(), _WANTED[start]) from None
    except UnexpectedToken as error:
        position = len(text) if error.token.type == "$END" else error.token.start_pos or 0
        raise _stuck(text, position, error.accepts or error.expected, _WANTED[start]) from None
    builder = _Builder()
    return builder, builder.build(tree)


@cache
def _parser() -> Lark:
    from lark import Lark as Parser  # noqa: PLC0415 - see above

    return Parser(_GRAMMAR, parser="lalr", lexer="contextual", start=["filter", "order", "path"], maybe_placeholders=True)


def _stuck(text: str, position: int, accepted: set[str], wanted: str) -> FilterError:
    """What to say of a text that cannot be read from `position` on."""
    rest = text[position:]
    word = (re.match(r"[^\s()\"'=<>!,:]+|.", rest, re.DOTALL) or [""])[0]
    if rest[:1] in {'"', "'"} and not _PARENTHESES.match(rest):
        return FilterError(f"this quote {rest[0]} is never closed", position)
    if "BARE" in accepted:
        message = "a value is missing; a text with special characters, or one that is a keyword, needs quotes"
        return FilterError("one = is enough for equal" if rest[:1] == "=" else message, position)
    if word in {"AND", "OR"} and accepted & {"_AND", "_OR", "RPAR", "$END"}:
        return FilterError("AND and OR stand side by side; say with parentheses what belongs together", position)
    if "NAME" in accepted and "OPERATOR" not in accepted and not accepted & {"_AND", "_OR"}:
        found = f", not {shown(word)}" if word else ""
        return FilterError(f"{wanted} is expected here{found}", position)
    if "KEY" in accepted:
        return FilterError("a key is expected after the dot; one with special characters needs quotes", position)
    if not rest:
        return FilterError("a parenthesis is not closed" if "RPAR" in accepted else "something is missing at the end", position)
    if rest[0] == ")":
        return FilterError("this parenthesis was never opened", position)
    return FilterError(f"{shown(word)} is not expected here; a text with special characters needs quotes", position)


class _Builder:
    """Turns what lark found into our tree. Its depth is bounded by that of the parentheses."""

    def __init__(self) -> None:
        self.terms = 0

    def build(self, tree: Any) -> Any:
        """The tree of one rule."""
        children = tree.children
        match tree.data:
            case "filter":
                return self.build(children[0])
            case "every" | "some":
                return Junction(tuple(self.build(child) for child in children), tree.data == "some")
            case "negation":
                return Negation(self.build(children[-1]))
            case "restriction":
                self.terms += 1
                path, operator, value = children
                position = operator.start_pos if operator else 0
                return Restriction(_path(path), Operator(operator) if operator else None, position, value and _value(value))
            case "order":
                return [self.build(child) for child in children]
            case "path":
                return _path(tree)
        return _by(children)


def _by(children: list[Any]) -> Direction:
    """A part of an order; AIP-132 knows `field desc`, and we `-field` too."""
    minus, path, direction = children
    if minus and direction:
        raise FilterError("a minus and a word for the direction are too much; use one of them", direction.start_pos)
    return Direction(_path(path), bool(minus) or direction == "desc")


def _path(tree: Any) -> Path:
    tokens: list[Token] = tree.children
    if len(tokens) > MAX_KEYS:
        raise FilterError(f"the path has more than {MAX_KEYS} keys", tokens[0].start_pos or 0, limit=MAX_KEYS)
    keys = tuple("*".join(_unquoted(token)) if token.type == "STRING" else str(token) for token in tokens[1:])
    return Path(str(tokens[0]), keys, tokens[0].start_pos or 0, ".".join(tokens))


def _value(tree: Any) -> Value:
    token: Token = tree.children[0]
    is_quoted = token.type == "STRING"
    pieces = _unquoted(token) if is_quoted else tuple(str(token).split("*"))
    if len(pieces) > 2:  # ** means no more than *
        pieces = (pieces[0], *filter(None, pieces[1:-1]), pieces[-1])
    position = token.start_pos or 0
    if len(pieces) > MAX_WILDCARDS + 1:
        raise FilterError(f"there are more than {MAX_WILDCARDS} wildcards; \\* means a star", position, limit=MAX_WILDCARDS)
    return Value(Pattern(pieces), position, is_quoted)


def _unquoted(token: Token) -> tuple[str, ...]:
    """The pieces of a quoted text between its wildcards."""
    pieces, place, inner = [""], 0, str(token)[1:-1]

    def plain(text: str) -> None:
        first, *more = text.split("*")
        pieces[-1] += first
        pieces.extend(more)

    for escape in _ESCAPE.finditer(inner):
        plain(inner[place : escape.start()])
        place = escape.end()
        pieces[-1] += _escaped(escape, (token.start_pos or 0) + 1 + escape.start())
    plain(inner[place:])
    return tuple(pieces)


def _escaped(escape: re.Match[str], position: int) -> str:
    if escape[1]:
        character = chr(int(escape[1], 16))
        if _UNSTORABLE.match(character):
            raise FilterError(f"{escape[0]} is in no text that is kept here", position)
        return character
    if escape[2] in "\\\"'*":
        return escape[2]
    if escape[2] in _ESCAPES:
        return _ESCAPES[escape[2]]
    raise FilterError(f"{shown(escape[0])} is no escape; there are \\\\ \\\" \\' \\* \\n \\r \\t and \\u1234", position)
