"""What other people wrote, made harmless: names and notes can hold what steers a terminal, or what no XML may hold."""

from __future__ import annotations


def printable(text: str, *, lines: bool = False) -> str:
    """The text with a mark in place of each character that is not shown, such as ESC; with `lines` it may be several lines."""
    return "".join(c if c.isprintable() or (lines and c == "\n") else "\N{REPLACEMENT CHARACTER}" for c in text)
