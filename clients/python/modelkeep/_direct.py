"""HTTP connections to stores, for the URLs that the blob service signs. A URL is a secret: it is in no log and no error.

A transfer of a chunk costs Python some lines of text, and the kernel moves the bytes: from the file that they lie in, or into
the buffer that they are wanted in. So this speaks just as much HTTP/1.1 as one PUT or GET of a chunk takes.
"""

from __future__ import annotations

import socket
import struct
import threading
from contextlib import suppress
from http import HTTPStatus
from typing import TYPE_CHECKING, Final, NamedTuple, Self, TypeVar
from urllib.parse import urlsplit

from modelkeep.errors import ServiceUnavailable

if TYPE_CHECKING:
    import ssl
    from collections.abc import Callable

    from modelkeep.config import Config

    Answer = TypeVar("Answer")

CONNECT_SECONDS: Final = 10
SILENCE_SECONDS: Final = 60.0
MOST_HEAD_BYTES: Final = 64 * 1024
_READ_BYTES: Final = 4096
"""Read of an answer at a time until its head is whole, so that little of its content has to be copied."""
_BUSY: Final = frozenset({429, 500, 502, 503, 504})


class StoreFailed(Exception):
    """The store did not take or give the bytes. Never leaves the SDK: it asks for another URL, or goes through the server."""

    def __init__(self, why: str, *, status: int = 0, reached: bool = True) -> None:
        super().__init__(why)
        self.status = status
        """What the store answered; 0 when it did not."""
        self.reached = reached
        """False when there was no connection, or silence on it."""

    @property
    def busy(self) -> bool:
        """Whether the store has too much to do, or stumbled: it wants fewer requests, not other ones."""
        return self.reached and (self.status in _BUSY or not self.status)

    @property
    def for_all(self) -> bool:
        """Whether other requests of now need not be made: their URLs have ended as well, or nobody is there."""
        return self.status == HTTPStatus.FORBIDDEN or not self.reached

    def as_error(self) -> ServiceUnavailable:
        """What to raise when nothing else helps."""
        return ServiceUnavailable(f"the store that the server named failed: {self}")


class Round:
    """Requests that are made at about the same time. Once one has failed for all of them, no other is begun."""

    def __init__(self) -> None:
        self._failed: StoreFailed | None = None

    @property
    def is_over(self) -> bool:
        """Whether one has failed for all."""
        return self._failed is not None

    def check(self) -> None:
        """Raises StoreFailed when it is over."""
        if self._failed is not None:
            raise self._failed

    def failed(self, failed: StoreFailed) -> None:
        """One of its requests has failed."""
        if failed.for_all:
            self._failed = failed


class ClosedBefore(Exception):
    """The connection was closed before anything was answered."""


class Place(NamedTuple):
    """What a URL names: a store, and an object in it."""

    store: tuple[str, str, int]
    """Scheme, host and port."""
    host: str
    """As a request names the host."""
    target: str

    @classmethod
    def of(cls, url: str) -> Self:
        """Take a URL apart."""
        parts = urlsplit(url)
        store = (parts.scheme, parts.hostname or "", parts.port or (443 if parts.scheme == "https" else 80))
        path = parts.path or "/"
        return cls(store, parts.netloc.rpartition("@")[2], f"{path}?{parts.query}" if parts.query else path)

    def request(self, method: str, *headers: str) -> bytes:
        """The head of a request."""
        return "\r\n".join((f"{method} {self.target} HTTP/1.1", f"Host: {self.host}", *headers, "\r\n")).encode("latin-1")


class Head(NamedTuple):
    """The head of an answer."""

    status: int
    length: int | None
    """None when it does not say how many bytes follow."""
    keep: bool
    """Whether the connection may be used again."""


class Connections:
    """Connections to stores, kept for the next chunk. Any number of threads may use it, in one process."""

    silence_seconds: float = SILENCE_SECONDS
    """How long a store may take or give nothing."""

    def __init__(self, config: Config) -> None:
        self._ca_file = config.ca_file or None
        self._tls: ssl.SSLContext | None = None
        self._idle: dict[tuple[str, str, int], list[socket.socket]] = {}
        self._lock = threading.Lock()
        self._round = Round()

    def round(self) -> Round:
        """The requests of now: of all batches that are under way, as they ask the same store."""
        with self._lock:
            if self._round.is_over:
                self._round = Round()
            return self._round

    def close(self) -> None:
        """Give up the connections."""
        with self._lock:
            idle, self._idle = self._idle, {}
        for connection in (one for kept in idle.values() for one in kept):
            connection.close()

    def exchange(self, store: tuple[str, str, int], talk: Callable[[socket.socket], tuple[Answer, bool]]) -> Answer:
        """Make one request by `talk`, which answers whether the connection may be used again. Raises StoreFailed."""
        with self._lock:
            kept = self._idle.get(store)
            connection = kept.pop() if kept else None
        if connection is not None:
            with suppress(ClosedBefore):  # it had been kept for longer than the store liked
                return self._exchange_over(connection, store, talk)
        try:
            return self._exchange_over(self._connect(store), store, talk)
        except ClosedBefore:
            raise StoreFailed("the connection broke") from None

    def _exchange_over(
        self, connection: socket.socket, store: tuple[str, str, int], talk: Callable[[socket.socket], tuple[Answer, bool]]
    ) -> Answer:
        keep = False
        try:
            answer, keep = talk(connection)
        except (BlockingIOError, TimeoutError):
            raise StoreFailed("it was silent for too long", reached=False) from None
        except OSError as error:
            raise StoreFailed(f"the connection broke ({type(error).__name__})") from None
        finally:
            if keep:
                with self._lock:
                    self._idle.setdefault(store, []).append(connection)
            else:
                connection.close()
        return answer

    def _connect(self, store: tuple[str, str, int]) -> socket.socket:
        scheme, host, port = store
        try:
            connection = socket.create_connection((host, port), timeout=CONNECT_SECONDS)
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            if scheme == "https":
                connection = self._context().wrap_socket(connection, server_hostname=host)
                connection.settimeout(self.silence_seconds)
                return connection
            # The kernel's own timeouts: Python's would need a poll before each call.
            connection.settimeout(None)
            seconds, rest = divmod(self.silence_seconds, 1)
            for option in (socket.SO_SNDTIMEO, socket.SO_RCVTIMEO):
                connection.setsockopt(socket.SOL_SOCKET, option, struct.pack("ll", int(seconds), int(rest * 1e6)))
        except OSError as error:
            raise StoreFailed(f"no connection ({type(error).__name__})", reached=False) from None
        return connection

    def _context(self) -> ssl.SSLContext:
        import ssl  # noqa: PLC0415 - only where it is spoken

        if self._tls is None:
            self._tls = ssl.create_default_context(cafile=self._ca_file)
        return self._tls


def read_head(connection: socket.socket) -> tuple[Head, bytes]:
    """The head of an answer, and what came of its content with it. Raises StoreFailed, ClosedBefore."""
    data = b""
    while (end := data.find(b"\r\n\r\n")) < 0:
        if len(data) > MOST_HEAD_BYTES:
            raise StoreFailed("its answer has no end of its head")
        try:
            more = connection.recv(_READ_BYTES)
        except (BrokenPipeError, ConnectionResetError):
            more = b""  # it was closed, and says so in answer to what was sent since
        if not more:
            if not data:
                raise ClosedBefore
            raise StoreFailed("it broke off in its answer")
        data += more
    return _parse(data[:end]), data[end + 4 :]


def _parse(text: bytes) -> Head:
    lines = text.split(b"\r\n")
    words = lines[0].split(None, 2)
    if len(words) < 2 or not words[0].startswith(b"HTTP/1.") or not words[1].isdigit():
        raise StoreFailed("its answer is no HTTP")
    length, keep, coded = None, words[0] != b"HTTP/1.0", False
    for line in lines[1:]:
        name, _, value = line.partition(b":")
        match name.strip().lower():
            case b"content-length":
                length = int(value) if value.strip().isdigit() else None
            case b"connection":
                keep = keep and b"close" not in value.lower()
            case b"transfer-encoding":
                coded = True  # how much it will be is not said
    return Head(int(words[1]), None if coded else length, keep and not coded)
