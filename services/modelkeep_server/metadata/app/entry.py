"""Entries of versions: list them page by page, or stream them with all their segments."""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator, Sequence
from contextlib import aclosing
from typing import Final

from modelkeep.manifest import Entry, decode_segments, parse_path
from modelkeep.names import VersionName

from modelkeep_server.database.paging import Listing, Page, token
from modelkeep_server.metadata.app.folder import FolderWalk
from modelkeep_server.metadata.app.lines import read_lines, read_segments, read_some_lines
from modelkeep_server.metadata.domain.entry import EntryPart, Folder, Piece
from modelkeep_server.metadata.domain.page import Line, is_file
from modelkeep_server.metadata.domain.version import Version
from modelkeep_server.metadata.ports.transactions import Transactions
from modelkeep_server.runtime.callers import Caller

MESSAGE_BYTES: Final = 900_000
"""About how much goes into one message, which stays below 1 MiB."""
_ENTRY_BYTES: Final = 64
"""What a message needs for an entry, beside its canonical form."""
_FILE_BYTES: Final = 256
"""What a message needs for an entry without its segments, beside its path."""
_SEGMENT_BYTES: Final = 60
"""What a message needs for a segment, at most."""


class EntryApp:
    """The use cases of the entries of versions."""

    def __init__(self, transactions: Transactions) -> None:
        self._transactions = transactions

    async def list_entries(
        self, caller: Caller, name: VersionName, prefix: str, page: Page, *, by_folder: bool = False
    ) -> Listing[Entry | Folder]:
        """Entries of a version by path, without their segments: all under a prefix, or what lies directly in that folder.

        Raises InvalidPath, VersionNotFound, VersionDeleted, and so on.
        """
        caller.require(name.team)
        version = await self._transactions.read(lambda work: work.versions.get(name))
        if by_folder:
            return await self._list_folder(version, prefix, page)
        position = page.position("entries", name, prefix, of=(str,))
        after = position[0].encode() if position else None
        entries: list[Entry] = []
        size = 0
        async with aclosing(read_lines(self._transactions, version.layout, prefix, after)) as lines:
            async for line in lines:
                if len(entries) == page.size or size > MESSAGE_BYTES:
                    return Listing(tuple(entries), token([entries[-1].path], "entries", name, prefix))
                entries.append(line.open())
                size += len(line.entry) + _ENTRY_BYTES
        return Listing(tuple(entries))

    async def stream_entries(
        self, caller: Caller, name: VersionName, prefix: str, after_path: str
    ) -> AsyncIterator[Sequence[Piece]]:
        """Entries of a version by path, with all their segments, as much at a time as fits into a message.

        Raises InvalidPath, VersionNotFound, VersionDeleted, and so on.
        """
        caller.require(name.team)
        version = await self._transactions.read(lambda work: work.versions.get(name))
        after = parse_path(after_path).encode() if after_path else None
        pieces: list[Piece] = []
        size = 0
        async with aclosing(self._pieces(version, prefix, after)) as found:
            async for piece, needed in found:
                if pieces and size + needed > MESSAGE_BYTES:
                    yield pieces
                    pieces, size = [], 0
                pieces.append(piece)
                size += needed
        if pieces:
            yield pieces

    async def _pieces(self, version: Version, prefix: str, after: bytes | None) -> AsyncGenerator[tuple[Piece, int]]:
        """Files as their lines, all else as parts; and how many bytes of a message each needs, at most."""
        async with aclosing(read_some_lines(self._transactions, version.layout, prefix, after)) as some:
            async for lines in some:
                for path, data in lines:
                    if is_file(path, data):
                        yield (path, data), len(data) + len(data) // 2
                        continue
                    line = Line.decode(data)
                    async for part in self._parts(line):
                        yield part, len(line.entry) + _ENTRY_BYTES + _SEGMENT_BYTES * len(part.segments)

    async def _list_folder(self, version: Version, folder: str, page: Page) -> Listing[Entry | Folder]:
        """What lies deeper is stepped over by the index of the pages; there is nothing when there is no such folder."""
        position = page.position("folder", version.name, folder, of=(str, str))
        walk = FolderWalk(self._transactions, version.layout, parse_path(folder) if folder else "")
        if position:
            walk.go_on_after(*position)
        items: list[Entry | Folder] = []
        size = 0
        async with aclosing(walk.items()) as found:
            async for item in found:
                if len(items) == page.size or size > MESSAGE_BYTES:
                    last = items[-1]
                    kind = "folder" if isinstance(last, Folder) else "file"
                    return Listing(tuple(items), token([kind, last.path], "folder", version.name, folder))
                items.append(item)
                size += len(item.path) + _FILE_BYTES
        return Listing(tuple(items))

    async def _parts(self, line: Line) -> AsyncIterator[EntryPart]:
        entry = line.open()
        head: Entry | None = entry
        if line.segments:
            yield EntryPart(entry.path, head, decode_segments(line.segments), continued=False)
            return
        rest = len(line.page_digests())
        async for stored in read_segments(self._transactions, line.segment_pages):
            rest -= 1
            yield EntryPart(entry.path, head, decode_segments(stored), continued=rest > 0)
            head = None
        if head is not None:
            yield EntryPart(entry.path, head, (), continued=False)
