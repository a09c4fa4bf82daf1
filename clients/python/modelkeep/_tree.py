"""A mapping with mappings in it, which tells what changes: the config of a run, and its summary."""

from __future__ import annotations

from collections.abc import Callable, Iterator, MutableMapping
from typing import Any, Final

from modelkeep._plain_json import MAX_DEPTH

_NONE: Final = object()


class Tree(MutableMapping[str, Any]):
    """Reads and is written to like a dict; `changed` gets the top-level key of whatever changes, and refuses it by raising."""

    def __init__(self, values: dict[str, Any], changed: Callable[[str], object]) -> None:
        """`values` is what it changes."""
        self._values = values
        self._changed = changed

    def __getitem__(self, key: str) -> Any:
        value = self._values[key]
        return Tree(value, lambda _: self._changed(key)) if isinstance(value, dict) else value

    def __setitem__(self, key: str, value: Any) -> None:
        before = self._values.get(key, _NONE)
        self._values[key] = _copied(value)
        self._tell(key, before)

    def __delitem__(self, key: str) -> None:
        before = self._values.pop(key)
        self._tell(key, before)

    def _tell(self, key: str, before: Any) -> None:
        try:
            self._changed(key)
        except Exception:
            if before is _NONE:
                self._values.pop(key, None)
            else:
                self._values[key] = before
            raise

    def __iter__(self) -> Iterator[str]:
        return iter(list(self._values))  # another thread may log meanwhile

    def __len__(self) -> int:
        return len(self._values)

    def __repr__(self) -> str:
        return repr(self._values.copy())

    def __reduce__(self) -> tuple[object, tuple[dict[str, Any]]]:
        return dict, (self.as_dict(),)  # a copy, also one in another process, tells nobody of its changes

    def as_dict(self) -> dict[str, Any]:
        """A copy, as a dict with dicts in it."""
        return {key: _copied(value) for key, value in self._values.copy().items()}


def _copied(value: Any, depth: int = 0) -> Any:
    """A copy, as deep as a value may be: one that is deeper, or in itself, is refused by who is told of it."""
    if isinstance(value, Tree):
        return value.as_dict()
    if not isinstance(value, dict) or depth > MAX_DEPTH:
        return value
    return {key: _copied(item, depth + 1) for key, item in value.copy().items()}
