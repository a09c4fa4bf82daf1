"""What a service says of its fields, so that filters and orders over them can be checked."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum
from typing import TypeAlias


class Kind(Enum):
    """What a field holds, which decides how it is compared."""

    TEXT = "text"
    RESOURCE = "name"
    """A resource name, which its last part may stand for."""
    CHOICE = "word"
    """One of a few words."""
    NUMBER = "number"
    """An integer."""
    VERSION = "version number"
    SIZE = "size"
    """A number of bytes."""
    TIME = "time"
    FLAG = "flag"
    """True or false."""
    DIGEST = "digest"
    LABELS = "set of labels"
    """Any number of short texts."""
    JSON = "metadata"
    """A JSON object, whose values are compared by their own types."""


@dataclass(frozen=True, slots=True)
class Field:
    """A field of the rows of a list."""

    kind: Kind
    choices: tuple[str, ...] = ()
    """Of a CHOICE."""
    is_ordered: bool = True
    """Whether a list may be ordered by it."""
    marker: str = ""
    """Of a RESOURCE: what stands before its last part."""
    forbidden: str = ""
    """Characters that its text never has, so that to ask for them is a mistake."""
    hint: str = ""
    """What to ask instead."""
    is_finite: bool = True
    """Of JSON: it holds no NaN and no infinity. Where it does, NaN is the text "NaN", and the infinities are numbers."""


Fields: TypeAlias = Mapping[str, Field]
"""By name."""

UNORDERED = {Kind.LABELS, Kind.DIGEST, Kind.FLAG}
"""Kinds that have no order that says anything."""
