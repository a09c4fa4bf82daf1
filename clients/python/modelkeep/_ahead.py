"""Entries that go ahead: of an artifact of many files, they are sent while the bytes of others are still on their way.

So after the last byte only the last of them are left. All that can go wrong here is left to who logs the artifact: it sends all
entries itself when these did not get through.
"""

from __future__ import annotations

from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from typing import TYPE_CHECKING, Final, Self

from modelkeep._channel import retrying
from modelkeep._entries import requests
from modelkeep.api.metadata.v1 import metadata_service_pb2 as pb
from modelkeep.errors import ModelkeepError

if TYPE_CHECKING:
    from collections.abc import Callable

    from modelkeep._channel import Connection
    from modelkeep._entries import Spool

ENTRIES: Final = 10_000
"""So many go in one call. Fewer are sent at the end, as all are of a small artifact."""
SECONDS: Final = 60.0
"""The deadline of one call with all its tries: who gives up meanwhile waits for it."""


class Ahead:
    """Sends the entries of one artifact to a draft of its own. Use it as a context manager: it has a thread."""

    def __init__(self, connection: Connection, create: Callable[[], str]) -> None:
        """`create` opens the draft, and answers its name."""
        self._connection = connection
        self._create = create
        self._thread = ThreadPoolExecutor(1, "modelkeep-entries")
        self._spool: Spool | None = None
        self._draft = ""
        self._going: Future[None] | None = None
        self._position = self._count = 0
        self._useless = False

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._thread.shutdown(cancel_futures=True)
        self._give_up()

    def noted(self, spool: Spool) -> None:
        """There is one more entry; send those that wait when they are enough, unless others are still on their way."""
        if spool.entry_count - self._count < ENTRIES or self._useless or (self._going and not self._going.done()):
            return
        if self._spool not in {None, spool}:
            self._useless = True  # it began again, since files had changed
            return
        self._spool = spool
        self._going = self._thread.submit(self._send, spool, spool.end, spool.entry_count)

    def finish(self, spool: Spool) -> str:
        """Send the rest; the draft that has all entries now, which is the caller's. Empty when there is none."""
        if self._going is None:
            return ""
        self._going.exception()
        if self._spool is spool and not self._useless:
            self._send(spool, spool.end, spool.entry_count)
        if self._useless or self._spool is not spool:
            self._give_up()
        draft, self._draft = self._draft, ""
        return draft

    def _send(self, spool: Spool, end: int, count: int) -> None:
        try:
            self._draft = self._draft or self._create()
            self._add(spool, end, count)
        except ModelkeepError:
            self._useless = True

    def _add(self, spool: Spool, end: int, count: int) -> None:
        begin, limits = self._position, self._connection.metadata_limits()

        def attempt(seconds: float, request_id: str) -> pb.AddEntriesResponse:
            stream = requests(spool.between(begin, end), self._draft, limits)
            response: pb.AddEntriesResponse = self._connection.attempt("metadata", "AddEntries", stream, seconds, request_id)
            return response

        taken = retrying(self._connection, "metadata", attempt, SECONDS).entry_count
        self._useless = self._useless or taken != count - self._count
        self._position, self._count = end, count

    def _give_up(self) -> None:
        draft, self._draft = self._draft, ""
        if draft:
            with suppress(ModelkeepError):  # it ends by itself too
                self._connection.metadata.AbortDraft(pb.AbortDraftRequest(name=draft), timeout=5)
