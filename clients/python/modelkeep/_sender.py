"""Sending chunks: ask which are missing, send those, publish them; each is tried again by itself."""

from __future__ import annotations

import threading
import time
from collections import OrderedDict
from concurrent.futures import ThreadPoolExecutor, as_completed
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Final, Self

from modelkeep._channel import stream_seconds
from modelkeep._direct import StoreFailed
from modelkeep._direct_put import Puts
from modelkeep._pace import MOST, Pace
from modelkeep._retry import Retry
from modelkeep._staging import Staging
from modelkeep._wire import unknown_plan
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

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from concurrent.futures import Future

    from modelkeep._channel import Connection
    from modelkeep._direct import Round
    from modelkeep._lease import KeptLease
    from modelkeep._pieces import Piece
    from modelkeep.names import TeamName

BATCHES: Final = 3
"""Batches on their way at once."""
BATCH_SECONDS: Final = 300.0
"""How long a batch may fail without any progress before the upload does."""
HEAL_TIMES: Final = 5
"""How often in a row a batch is prepared again because of what only that can answer."""
REMEMBERED: Final = 65_536
"""How many of the last chunks are remembered, so that the same content elsewhere is not asked for again."""
PUBLISHED_AT_ONCE: Final = 32
"""How many chunks that went to URLs, or into files, are published by one call; …"""
PUBLISH_SECONDS: Final = 0.5
"""… fewer, when they took longer than this."""
BUSY_ROUNDS: Final = 8
"""How often a store may be too busy for a whole batch before the bytes go through the server."""
_HEAL_BY_ASKING: Final = (GrantExpired, LeaseExpired, LeaseNotFound, DigestMismatch, SizeMismatch)
"""What a new PrepareUpload answers to, unless the file changed."""


class Sender:
    """Sends batches of chunks under one lease, several at once. Call `close` at the end: it has threads."""

    def __init__(self, connection: Connection, team: TeamName, lease: KeptLease, advance: Callable[[int], None]) -> None:
        self._connection = connection
        self._team = team
        self._lease = lease
        self._advance = advance
        self._stop = threading.Event()
        self._batches = ThreadPoolExecutor(BATCHES, "modelkeep-send")
        self._put_threads = ThreadPoolExecutor(MOST, "modelkeep-put")
        self._puts = Puts(connection.config)
        self._pace = Pace()
        self._staging = Staging.find(connection.config, connection.limits().staging_folder)
        self._staged = self._staging is not None
        self._waiting: list[Future[None]] = []
        self._recent: OrderedDict[bytes, None] = OrderedDict()
        self._stream_only = False
        self._put_worked = False
        self._busy_rounds = 0
        self._counting = threading.Lock()
        self.sent_bytes = 0
        """Bytes that the server did not have and that went to it."""
        self.mostly_present = False
        """Whether the server had what it was asked for last."""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._batches.shutdown(cancel_futures=True)
        self._put_threads.shutdown(cancel_futures=True)
        self._puts.close()
        if self._staging is not None:
            self._staging.close()
            self._staging = None

    def send(self, pieces: Sequence[Piece]) -> None:
        """Send what is missing of a batch, in the background. Waits while enough are on their way. Raises what one met."""
        fresh: dict[bytes, Piece] = {}
        for piece in pieces:
            if piece.sha256 in self._recent or piece.sha256 in fresh:
                self._advance(piece.progress_bytes)  # on its way already; if that fails, all of it does
            else:
                fresh[piece.sha256] = piece
        self._recent.update(dict.fromkeys(fresh))
        while len(self._recent) > REMEMBERED:
            self._recent.popitem(last=False)
        if fresh:
            self._waiting.append(self._batches.submit(self._send_batch, list(fresh.values())))
        self._waiting = [future for future in self._waiting if not _succeeded(future)]
        while len(self._waiting) > BATCHES:
            self._waiting.pop(0).result()

    def finish(self) -> None:
        """Wait until all batches are stored. Raises what one of them met."""
        while self._waiting:
            self._waiting.pop(0).result()

    def start_over(self) -> None:
        """Wait for what is on its way, whatever becomes of it, and ask for every chunk again from now on."""
        for future in self._waiting:
            future.exception()
        self._waiting.clear()
        self._recent.clear()

    def _send_batch(self, pieces: list[Piece]) -> None:
        retry, healed = Retry(BATCH_SECONDS, sleep=self._sleep), 0
        while pieces and not self._stop.is_set():
            before = len(pieces)
            pieces, error = self._try(pieces)
            if len(pieces) < before:
                retry, healed = Retry(BATCH_SECONDS, sleep=self._sleep), 0
            if error is None:
                continue
            if isinstance(error, _HEAL_BY_ASKING) and healed < HEAL_TIMES:
                healed += 1
            else:
                retry.pause(error)

    def _sleep(self, seconds: float) -> None:
        self._stop.wait(seconds)

    def _try(self, pieces: list[Piece]) -> tuple[list[Piece], ModelkeepError | None]:
        """Ask and send once; answers what is still missing, and why."""
        lease, plans = self._prepare(pieces)
        streams: list[tuple[Piece, int]] = []
        urls: list[tuple[Piece, str]] = []
        files: list[tuple[Piece, str]] = []
        for piece, plan in zip(pieces, plans, strict=True):
            match plan.WhichOneof("action"):
                case "present":
                    self._advance(piece.progress_bytes)
                case "stream":
                    offset = plan.stream.write_offset  # all of it without the end is as good as nothing
                    streams.append((piece, offset if offset < piece.size_bytes else 0))
                case "staged":
                    files.append((piece, plan.staged.path))
                case "url":
                    urls.append((piece, plan.url.url))
                case _:
                    raise unknown_plan("upload a chunk")
        self.mostly_present = 8 * (len(streams) + len(urls) + len(files)) < len(pieces)
        missing: list[Piece] = []
        error: ModelkeepError | None = None
        for left, failed in (
            self._stage(lease, files) if files else ([], None),
            self._put(lease, urls) if urls else ([], None),
            self._write(lease, streams) if streams else ([], None),
        ):
            missing, error = missing + left, failed or error
        return missing, error

    def _prepare(self, pieces: list[Piece]) -> tuple[str, Sequence[pb.UploadPlan]]:
        """What to do with each piece, and the lease under which it is to be done."""
        request = pb.PrepareUploadRequest(parent=str(self._team), stream_only=self._stream_only)
        if self._staged and self._staging is not None:
            request.staging_token = self._staging.token
        for piece in pieces:
            request.chunks.add(size_bytes=piece.size_bytes).digest.sha256 = piece.sha256
        response = self._lease.prepare(request)
        return response.lease.name, response.plans

    def _write(self, lease: str, streams: list[tuple[Piece, int]]) -> tuple[list[Piece], ModelkeepError | None]:
        """Send chunks in one stream through the server; answers what is still missing, and why."""
        size = sum(piece.size_bytes - offset for piece, offset in streams)
        messages = _Messages(lease, streams, self._connection.limits().max_data_bytes)
        try:
            self._connection.blob.Write(messages, timeout=stream_seconds(size))
        except ModelkeepError as error:
            if messages.failure is not None:
                raise messages.failure from None
            if isinstance(error, DigestMismatch | SizeMismatch):
                _check([piece for piece, _ in streams])
            return [piece for piece, _ in streams], error
        with self._counting:
            self.sent_bytes += size
        for piece, _ in streams:
            self._advance(piece.progress_bytes)
        return [], None

    def _stage(self, lease: str, files: list[tuple[Piece, str]]) -> tuple[list[Piece], ModelkeepError | None]:
        """Leave chunks in the staging folder and publish them; answers which are still missing, and why."""
        lost: list[Piece] = []
        for begin in range(0, len(files), PUBLISHED_AT_ONCE):
            group = files[begin : begin + PUBLISHED_AT_ONCE]
            with self._swept([path for _, path in group]):
                try:
                    for piece, path in group:
                        if self._staging is not None:
                            self._staging.put(path, piece)
                except ServiceUnavailable as error:
                    self._staged = False  # the next plan is to stream them
                    return lost + [piece for piece, _ in files[begin:]], error
                missing, mismatched = self._complete(lease, [piece for piece, _ in group])
            _check(mismatched)
            lost += missing
        return lost, ServiceUnavailable("the server lost what was left in its staging folder") if lost else None

    @contextmanager
    def _swept(self, paths: list[str]) -> Iterator[None]:
        """Leave nothing in the staging folder that was not published: it may be the disk that is full."""
        try:
            yield
        finally:
            if self._staging is not None:
                self._staging.drop(paths)

    def _put(self, lease: str, urls: list[tuple[Piece, str]]) -> tuple[list[Piece], ModelkeepError | None]:
        """Send chunks to their URLs and publish them; answers which are still missing, and why."""
        this = self._puts.round()
        futures = {self._put_threads.submit(self._put_one, url, piece, this): piece for piece, url in urls}
        arrived: list[Piece] = []
        lost: list[Piece] = []
        failures: list[tuple[Piece, StoreFailed]] = []
        published = time.monotonic()
        for future in as_completed(futures):
            try:
                future.result()
                arrived.append(futures[future])
            except StoreFailed as failed:
                failures.append((futures[future], failed))
            if len(arrived) >= PUBLISHED_AT_ONCE or (arrived and time.monotonic() > published + PUBLISH_SECONDS):
                lost += self._complete(lease, arrived)[0]  # it need never be sent again, whatever happens next
                arrived, published = [], time.monotonic()
        lost += self._complete(lease, arrived)[0] if arrived else []
        _check([piece for piece, failed in failures if failed.status == 400])  # as if the bytes are not what was promised
        if failures:
            self._learn([failed for _, failed in failures], any_sent=len(failures) < len(urls))
            return lost + [piece for piece, _ in failures], failures[0][1].as_error()
        self._put_worked, self._busy_rounds = True, 0
        return lost, ServiceUnavailable("the store lost what was sent to it") if lost else None

    def _put_one(self, url: str, piece: Piece, this: Round) -> None:
        with self._pace.one(piece.size_bytes):
            this.check()
            if self._stop.is_set():
                raise StoreFailed("nobody waits for it any more")
            try:
                self._puts.put(url, piece)
            except StoreFailed as failed:
                this.failed(failed)
                if failed.busy:
                    self._pace.slow_down()
                raise

    def _learn(self, failures: list[StoreFailed], *, any_sent: bool) -> None:
        """Whether the store can be used at all: if nothing gets through, the server takes the bytes."""
        if any_sent:
            self._put_worked, self._busy_rounds = True, 0
            return
        if all(failure.busy for failure in failures):
            self._busy_rounds += 1
            self._stream_only = self._stream_only or self._busy_rounds >= BUSY_ROUNDS
            return
        # Not one got through. If none ever did, or another round of them does not either, the server takes the bytes.
        unreached = not any(failure.reached for failure in failures)
        self._stream_only = self._stream_only or unreached or not self._put_worked
        self._put_worked = False

    def _complete(self, lease: str, sent: list[Piece]) -> tuple[list[Piece], list[Piece]]:
        """Publish what was sent; answers what has to be sent again, and what of it arrived as something else."""
        request = pb.CompleteUploadRequest(lease=lease)
        for piece in sent:
            request.digests.add().sha256 = piece.sha256
        try:
            results = self._connection.blob.CompleteUpload(request).results
        except (LeaseExpired, LeaseNotFound):
            self._lease.drop(lease)
            return sent, []
        missing, mismatched = [], []
        for piece, result in zip(sent, results, strict=True):
            if result == pb.UPLOAD_RESULT_PUBLISHED:
                with self._counting:
                    self.sent_bytes += piece.size_bytes
                self._advance(piece.progress_bytes)
                continue
            missing.append(piece)
            if result in {pb.UPLOAD_RESULT_DIGEST_MISMATCH, pb.UPLOAD_RESULT_SIZE_MISMATCH}:
                mismatched.append(piece)
        return missing, mismatched


class _Messages:
    """The stream of Write. What goes wrong while it is made is kept: gRPC would only say that something did."""

    def __init__(self, lease: str, streams: list[tuple[Piece, int]], most: int) -> None:
        self._messages = self._made(lease, streams, most)
        self.failure: Exception | None = None

    def __iter__(self) -> Iterator[pb.WriteRequest]:
        return self

    def __next__(self) -> pb.WriteRequest:
        try:
            return next(self._messages)
        except StopIteration:
            raise
        except Exception as error:
            self.failure = error
            raise

    @staticmethod
    def _made(lease: str, streams: list[tuple[Piece, int]], most: int) -> Iterator[pb.WriteRequest]:
        for piece, offset in streams:
            message = pb.WriteRequest(lease=lease, offset=offset)
            message.chunk.digest.sha256 = piece.sha256
            message.chunk.size_bytes = piece.size_bytes
            lease = ""
            for part in piece.parts_from(offset, most):
                message.data = part
                yield message
                message = pb.WriteRequest()


def _check(pieces: list[Piece]) -> None:
    """Raise FileChanged, or Stale, if the bytes of one are not what was promised."""
    for piece in pieces:
        piece.check()


def _succeeded(future: Future[Any]) -> bool:
    """Whether it is done. Raises what it met."""
    return future.done() and future.result() is None
