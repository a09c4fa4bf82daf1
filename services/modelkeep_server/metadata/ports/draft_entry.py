"""The entries of open drafts, as the database keeps them: runs of entries that came in order, and single lines over them."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Protocol

from modelkeep.digest import Digest
from modelkeep.names import DraftName

from modelkeep_server.metadata.domain.manifest import PageSlot
from modelkeep_server.metadata.domain.page import Keyed, Page


class DraftEntries(Protocol):
    """The entries of all drafts. A line counts more than a run, and a run is never where there was a line or a run before."""

    async def has_lines(self, name: DraftName, first: bytes, last: bytes, folders: Collection[bytes]) -> bool:
        """Whether a draft has a line from `first` to `last`, or for one of `folders`."""
        ...

    async def set_runs(self, name: DraftName, pages: Sequence[Page], instead: Collection[Digest]) -> None:
        """Keep pages of entries as runs of a locked draft, instead of some runs that it has."""
        ...

    async def put_lines(self, name: DraftName, lines: Mapping[bytes, bytes]) -> None:
        """Keep lines of a locked draft, by path, in place of those that it has; an empty one takes an entry out."""
        ...

    async def drop_lines(self, name: DraftName, first: bytes, end: bytes) -> None:
        """Forget the lines of a locked draft from `first` on and before `end`."""
        ...

    async def changed(self, name: DraftName, by: int) -> None:
        """Note that a locked draft has `by` more entries, or others; takes its seal back."""
        ...

    async def lines(self, name: DraftName, paths: Collection[bytes]) -> Mapping[bytes, bytes]:
        """The lines that a draft has for some paths, and for folders that it takes out."""
        ...

    async def lines_from(self, name: DraftName, first: bytes, end: bytes | None, limit: int, size: int) -> Sequence[Keyed]:
        """Paths and lines from `first` on and before `end`: at most `limit`, up to the line that reaches `size` bytes."""
        ...

    async def runs(self, name: DraftName, first: bytes, end: bytes | None, limit: int) -> Sequence[PageSlot]:
        """The next runs of a draft by path that may have paths from `first` on and before `end`; their ordinals say nothing."""
        ...
