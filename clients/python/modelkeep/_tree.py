"""A mapping with mappings in it, which tells what changes: the config of a run, and its summary."""

from __future__ import annotations

from collections.abc import Callable, Iterator, MutableMapping
from typing import Any


class Tree(MutableMapping[str, Any]):
    """Reads and is written to like a dict; `changed` gets the top-level key of whatever changes, before anybody sees it."""

    def __init__(self, values: dict[str, Any], changed: Callable[[str], object]) -> None:
        """`values` is what it changes."""
        self._values = values
        self._changed = changed

    def __getitem__(self, key: str) -> Any:
        value = self._values[key]
        return Tree(value, lambda _: self._changed(key)) if isinstance(value, dict) else value

    def __setitem__(self, key: str, value: Any) -> None:
        self._values[key] = _copied(value)
        self._changed(key)

    def __delitem__(self, key: str) -> None:
        del self._values[key]
        self._changed(key)

    def __iter__(self) -> Iterator[str]:
        return iter(self._values)

    def __len__(self) -> int:
        return len(self._values)

    def __repr__(self) -> str:
        return repr(self._values)

    def as_dict(self) -> dict[str, Any]:
        """A copy, as a dict."""
        return {key: _copied(value) for key, value in self._values.items()}


def _copied(value: Any) -> Any:
    if isinstance(value, Tree):
        return value.as_dict()
    return {key: _copied(item) for key, item in value.items()} if isinstance(value, dict) else value
