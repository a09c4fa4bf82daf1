"""Sending chunks: ask which are missing, send those, publish them; each is tried again by itself.

A lease protects what was sent, and what need not be sent, until the version is committed (SEM-25).
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Final, Self

from modelkeep._channel import stream_seconds
from modelkeep._direct import CONNECTIONS, StoreFailed
from modelkeep._retry import Retry
from modelkeep.api.blob.v1 import blob_service_pb2 as pb
from modelkeep.errors import (
    DigestMismatch,
    GrantExpired,
    LeaseExpired,
    LeaseNotFound,
    ModelkeepError,
    ServiceUnavailable,
    SizeMismatch,
)
from modelkeep.names import TeamName

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from concurrent.futures import Future

    from modelkeep._channel import Connection
    from modelkeep._chunks import Budget, Piece

BATCHES: Final = 3
"""Batches on their way at once."""
BATCH_SECONDS: Final = 300.0
"""How long a batch may fail before the upload does."""
HEAL_TIMES: Final = 5
"""How often a batch is prepared again because of what only that can answer."""
REMEMBERED: Final = 65_536
"""How many of the last chunks are remembered, so that the same content elsewhere is not asked for again."""
_HEAL_BY_ASKING: Final = (GrantExpired, LeaseExpired, LeaseNotFound, DigestMismatch, SizeMismatch)
"""What a new PrepareUpload answers to. A digest that did not match was damaged on its way: it is that of bytes in memory."""


class Sender:
    """Sends batches of chunks under one lease, several at once. Use it as a context manager: it has threads."""

    def __init__(self, connection: Connection, team: TeamName, budget: Budget, advance: Callable[[int], None]) -> None:
        self._connection = connection
        self._team = team
        self._budget = budget
        self._advance = advance
        self._lease = ""
        self._leasing = threading.Lock()
        self._stop = threading.Event()
        self._batches = ThreadPoolExecutor(BATCHES, "modelkeep-send")
        self._puts = ThreadPoolExecutor(CONNECTIONS, "modelkeep-put")
        self._waiting: list[Future[None]] = []
        self._recent: OrderedDict[bytes, None] = OrderedDict()
        self._stream_only = False
        self._put_worked = False
        self._counting = threading.Lock()
        self.sent_bytes = 0
        """Bytes that the server did not have and that went to it."""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._budget.open_up()
        self._batches.shutdown(cancel_futures=True)
        self._puts.shutdown(cancel_futures=True)

    def send(self, pieces: Sequence[Piece]) -> None:
        """Send what is missing of a batch, in the background. Raises what an earlier batch met."""
        fresh: dict[bytes, Piece] = {}
        for piece in pieces:
            if piece.sha256 in self._recent or piece.sha256 in fresh:
                self._done(piece)  # on its way already; if that fails, all of it does
            else:
                fresh[piece.sha256] = piece
        self._recent.update(dict.fromkeys(fresh))
        while len(self._recent) > REMEMBERED:
            self._recent.popitem(last=False)
        if fresh:
            self._waiting.append(self._batches.submit(self._send_batch, list(fresh.values())))
        self._waiting = [future for future in self._waiting if not _succeeded(future)]

    def finish(self) -> None:
        """Wait until all batches are stored. Raises what one of them met."""
        for future in self._waiting:
            future.result()
        self._waiting.clear()

    def forget_recent(self) -> None:
        """Ask for every chunk again from now on: the server says that it lacks some."""
        self._recent.clear()

    def _send_batch(self, pieces: list[Piece]) -> None:
        try:
            retry, healed = Retry(BATCH_SECONDS, sleep=self._sleep), 0
            while pieces and not self._stop.is_set():
                pieces, error = self._try(pieces)
                if isinstance(error, _HEAL_BY_ASKING) and healed < HEAL_TIMES:
                    healed += 1
                elif error is not None:
                    retry.pause(error)
        except BaseException:
            self._budget.open_up()  # nobody may wait for bytes that this batch will never give back
            raise

    def _sleep(self, seconds: float) -> None:
        self._stop.wait(seconds)

    def _try(self, pieces: list[Piece]) -> tuple[list[Piece], ModelkeepError | None]:
        """Ask and send once; answers what is still missing, and why."""
        lease, plans = self._prepare(pieces)
        streams: list[tuple[Piece, int]] = []
        urls: list[tuple[Piece, str]] = []
        for piece, plan in zip(pieces, plans, strict=True):
            match plan.WhichOneof("action"):
                case "present":
                    self._done(piece)
                case "stream":
                    offset = plan.stream.write_offset  # all of it without the end is as good as nothing
                    streams.append((piece, offset if offset < piece.size_bytes else 0))
                case _:
                    urls.append((piece, plan.url.url))
        missing, error = self._put(lease, urls) if urls else ([], None)
        if streams:
            failed = self._write(lease, streams)
            if failed is not None:
                return missing + [piece for piece, _ in streams], failed
        return missing, error

    def _prepare(self, pieces: list[Piece]) -> tuple[str, Sequence[pb.UploadPlan]]:
        """What to do with each piece, and the lease under which it is to be done: another one may have begun by then."""
        request = pb.PrepareUploadRequest(parent=str(self._team), stream_only=self._stream_only)
        for piece in pieces:
            request.chunks.add(size_bytes=piece.size_bytes).digest.sha256 = piece.sha256
        for _ in range(3):
            request.lease = self._lease
            try:
                send = self._connection.blob.PrepareUpload if request.lease else self._prepare_first
                response: pb.PrepareUploadResponse = send(request)
            except (LeaseExpired, LeaseNotFound):
                self._drop_lease(request.lease)  # this machine slept, or the network was away: begin another one
            else:
                return response.lease.name, response.plans
        raise ServiceUnavailable("leases end as soon as they begin; check the server's clock and its lease time")

    def _prepare_first(self, request: pb.PrepareUploadRequest) -> pb.PrepareUploadResponse:
        with self._leasing:  # one of the batches opens the lease, the others wait for it
            request.lease = self._lease
            response: pb.PrepareUploadResponse = self._connection.blob.PrepareUpload(request)
            if not self._lease:
                self._lease = response.lease.name
                seconds = self._connection.limits().lease_seconds / 3
                keeper = threading.Thread(target=self._keep_lease, args=(self._lease, seconds), daemon=True)
                keeper.name = "modelkeep-lease"
                keeper.start()
            return response

    def _keep_lease(self, lease: str, seconds: float) -> None:
        while not self._stop.wait(seconds):
            try:
                self._connection.blob.RenewLease(pb.RenewLeaseRequest(name=lease), timeout=max(seconds, 10))
            except (LeaseExpired, LeaseNotFound):
                self._drop_lease(lease)
                return
            except ModelkeepError:
                continue  # there are two more tries before the lease ends, and the upload itself will say what is wrong

    def _drop_lease(self, lease: str) -> None:
        with self._leasing:
            if self._lease == lease:
                self._lease = ""

    def _write(self, lease: str, streams: list[tuple[Piece, int]]) -> ModelkeepError | None:
        """Send chunks in one stream through the server; answers what went wrong."""
        size = sum(piece.size_bytes - offset for piece, offset in streams)
        try:
            self._connection.blob.Write(self._messages(lease, streams), timeout=stream_seconds(size))
        except ModelkeepError as error:
            return error
        with self._counting:
            self.sent_bytes += size
        for piece, _ in streams:
            self._done(piece)
        return None

    def _messages(self, lease: str, streams: list[tuple[Piece, int]]) -> Iterator[pb.WriteRequest]:
        most = self._connection.limits().max_data_bytes
        for piece, offset in streams:
            message = pb.WriteRequest(lease=lease, offset=offset)
            message.chunk.digest.sha256 = piece.sha256
            message.chunk.size_bytes = piece.size_bytes
            lease = ""
            data = piece.data
            for position in range(offset, len(data), most):
                whole = position == 0 and len(data) <= most
                message.data = data if whole else data[position : position + most]
                yield message
                message = pb.WriteRequest()

    def _put(self, lease: str, urls: list[tuple[Piece, str]]) -> tuple[list[Piece], ModelkeepError | None]:
        """Send chunks to their URLs and publish them; answers which are still missing, and why."""
        futures = [(piece, self._puts.submit(self._connection.direct.put, url, piece.data)) for piece, url in urls]
        sent: list[Piece] = []
        missing: list[Piece] = []
        failure: StoreFailed | None = None
        for piece, future in futures:
            try:
                future.result()
                sent.append(piece)
            except StoreFailed as failed:
                failure = failed
                missing.append(piece)
        self._put_worked = self._put_worked or bool(sent)
        if failure is not None and not sent:
            # Not one got through. If none ever did, or another round of them does not either, the server takes the bytes.
            self._stream_only = self._stream_only or not failure.reached or not self._put_worked
            self._put_worked = False
        if sent:
            missing += self._complete(lease, sent)
        error = failure.as_error() if failure else ServiceUnavailable("the store lost what was sent to it")
        return missing, error if missing else None

    def _complete(self, lease: str, sent: list[Piece]) -> list[Piece]:
        """Publish what was sent to URLs; answers what has to be sent again."""
        request = pb.CompleteUploadRequest(lease=lease)
        for piece in sent:
            request.digests.add().sha256 = piece.sha256
        try:
            results = self._connection.blob.CompleteUpload(request).results
        except (LeaseExpired, LeaseNotFound):
            self._drop_lease(lease)
            return sent
        missing = []
        for piece, result in zip(sent, results, strict=True):
            if result == pb.UPLOAD_RESULT_PUBLISHED:
                with self._counting:
                    self.sent_bytes += piece.size_bytes
                self._done(piece)
            else:
                missing.append(piece)
        return missing

    def _done(self, piece: Piece) -> None:
        """Its bytes are stored: they need no memory any more."""
        piece.release(self._budget)
        self._advance(piece.size_bytes)


def _succeeded(future: Future[None]) -> bool:
    """Whether it is done. Raises what it met."""
    return future.done() and future.result() is None
