"""Folders: what lies directly in a folder of a manifest, found by its index instead of by reading all that lies deeper."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import AsyncGenerator
from functools import partial

from modelkeep.digest import Digest
from modelkeep.manifest import Entry

from modelkeep_server.metadata.app.lines import by_path
from modelkeep_server.metadata.app.merge import end_of
from modelkeep_server.metadata.domain.entry import Folder
from modelkeep_server.metadata.domain.page import Keyed, Line, split_page
from modelkeep_server.metadata.ports.transactions import Transactions, Work


class FolderWalk:
    """A walk over the files and folders that lie directly in a folder, in byte order; the root is the empty path."""

    def __init__(self, transactions: Transactions, layout: Digest, folder: str) -> None:
        self._transactions = transactions
        self._layout = layout
        self._prefix = f"{folder}/".encode() if folder else b""
        self._next = self._prefix
        self._page: list[Keyed] = []

    def go_on_after(self, kind: str, path: str) -> None:
        """Begin after a `file` or a `folder`, and not before the folder that is walked."""
        key = path.encode()
        self._next = max(self._prefix, end_of(key + b"/") if kind == "folder" else key + b"\x00")

    async def items(self) -> AsyncGenerator[Entry | Folder]:
        """The files and folders."""
        start = len(self._prefix)
        while keyed := await self._seek():
            path, line = keyed
            if not path.startswith(self._prefix):
                return
            name, slash, _ = path[start:].partition(b"/")
            if slash:
                folder = self._prefix + name
                self._next = end_of(folder + slash)
                yield Folder(folder.decode())
            else:
                self._next = path + b"\x00"
                yield Line.decode(line).open()

    async def _seek(self) -> Keyed | None:
        """The first line from where the walk is, by at most one more page."""
        if not self._page or self._page[-1][0] < self._next:
            data = await self._transactions.read(partial(_page_at, self._layout, self._next))
            if data is None:
                return None
            self._page = split_page(data)
        return self._page[bisect_left(self._page, self._next, key=by_path)]


async def _page_at(layout: Digest, path: bytes, work: Work) -> bytes | None:
    """The page that has the first path from `path` on."""
    slot = await work.manifests.slot_at(layout, path)
    return None if slot is None else (await work.manifests.pages([slot.page]))[slot.page]
