"""Bytes straight from the store, by the URLs that the blob service signs. A URL is a secret: it is in no log and no error.

The bytes go from the connection into the buffer that they are wanted in, with as few calls as the kernel allows: a thread that
waits in the kernel leaves Python to the others. So this speaks just as much HTTP/1.1 as one GET takes.
"""

from __future__ import annotations

import socket
import struct
import threading
from typing import TYPE_CHECKING, Final, NamedTuple, NoReturn
from urllib.parse import urlsplit

from modelkeep.errors import ServiceUnavailable

if TYPE_CHECKING:
    import ssl

    from modelkeep.config import Config

CONNECT_SECONDS: Final = 10
SILENCE_SECONDS: Final = 60.0
"""How long a store may give nothing."""
_HEAD_BYTES: Final = 4096
"""Read first: the head of an answer and little of its bytes, as those have to be copied."""
_MOST_HEAD_BYTES: Final = 64 * 1024
_BUSY: Final = frozenset({429, 500, 502, 503, 504})
_ALL: Final = getattr(socket, "MSG_WAITALL", 0)


class GetFailed(Exception):
    """The store did not give the bytes. Never leaves the SDK: it asks for another URL, or goes through the server."""

    def __init__(self, why: str, *, status: int = 0, reached: bool = True) -> None:
        super().__init__(why)
        self.status = status
        """What the store answered; 0 when it did not."""
        self.reached = reached
        """False when there was no connection at all."""

    @property
    def busy(self) -> bool:
        """Whether the store has too much to do, or stumbled: it wants fewer requests, not other ones."""
        return self.reached and (self.status in _BUSY or not self.status)

    def as_error(self) -> ServiceUnavailable:
        """What to raise when nothing else helps."""
        return ServiceUnavailable(f"the store that the server named failed: {self}")


class Gets:
    """HTTP connections to stores, kept for the next GET. Any number of threads may use it, in one process."""

    silence_seconds: float = SILENCE_SECONDS
    """How long a store may give nothing."""

    def __init__(self, config: Config) -> None:
        self._ca_file = config.ca_file or None
        self._tls: ssl.SSLContext | None = None
        self._idle: dict[tuple[str, str, int], list[socket.socket]] = {}
        self._lock = threading.Lock()

    def close(self) -> None:
        """Give up the connections."""
        with self._lock:
            idle, self._idle = self._idle, {}
        for connection in (one for kept in idle.values() for one in kept):
            connection.close()

    def get(self, url: str, offset: int, into: memoryview, *, whole: bool) -> None:
        """Fill `into` with the bytes of an object from `offset` on; `whole` when they are all that it has. Raises GetFailed."""
        parts = urlsplit(url)
        host = parts.hostname or ""
        where = (parts.scheme, host, parts.port or (443 if parts.scheme == "https" else 80))
        target = f"{parts.path or '/'}?{parts.query}" if parts.query else parts.path or "/"
        wanted = "" if whole else f"Range: bytes={offset}-{offset + len(into) - 1}\r\n"
        text = f"GET {target} HTTP/1.1\r\nHost: {parts.netloc.rpartition('@')[2]}\r\n{wanted}Accept-Encoding: identity\r\n\r\n"
        request, expected = text.encode("latin-1"), 200 if whole else 206
        with self._lock:
            kept = self._idle.get(where)
            connection = kept.pop() if kept else None
        if connection is not None:
            try:
                return self._exchange(where, connection, request, into, expected)
            except _ClosedBeforeError:
                pass  # it had been kept for longer than the store liked
        try:
            return self._exchange(where, self._connect(where), request, into, expected)
        except _ClosedBeforeError:
            raise GetFailed("the connection broke") from None

    def _exchange(
        self, where: tuple[str, str, int], connection: socket.socket, request: bytes, into: memoryview, expected: int
    ) -> None:
        """One request and its answer; afterwards the connection is kept, or closed."""
        keep = False
        try:
            keep = _ask(connection, request, into, expected)
        except (BlockingIOError, TimeoutError):
            raise GetFailed("it was silent for too long") from None
        except OSError as error:
            raise GetFailed(f"the connection broke ({type(error).__name__})") from None
        finally:
            if keep:
                with self._lock:
                    self._idle.setdefault(where, []).append(connection)
            else:
                connection.close()

    def _connect(self, where: tuple[str, str, int]) -> socket.socket:
        scheme, host, port = where
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
            raise GetFailed(f"no connection ({type(error).__name__})", reached=False) from None
        return connection

    def _context(self) -> ssl.SSLContext:
        import ssl  # noqa: PLC0415 - only where it is spoken

        if self._tls is None:
            self._tls = ssl.create_default_context(cafile=self._ca_file)
        return self._tls


class _ClosedBeforeError(Exception):
    """The connection was closed before anything was answered."""


class _Head(NamedTuple):
    """The head of an answer."""

    status: int
    length: int | None
    keep: bool


def _ask(connection: socket.socket, request: bytes, into: memoryview, expected: int) -> bool:
    """Send a request and read its answer; whether the connection may be used again."""
    try:
        connection.sendall(request)
        data = connection.recv(_HEAD_BYTES)
    except (BrokenPipeError, ConnectionResetError) as error:
        raise _ClosedBeforeError from error
    if not data:
        raise _ClosedBeforeError
    while (end := data.find(b"\r\n\r\n")) < 0:
        if len(data) > _MOST_HEAD_BYTES:
            _refuse("its answer is no answer to a GET")
        more = connection.recv(_HEAD_BYTES)
        if not more:
            _refuse("it broke off in its answer")
        data += more
    head = _head(data[:end])
    if head.status != expected:
        raise GetFailed(f"it answered a GET with {head.status}", status=head.status)
    if head.length != len(into):
        _refuse(f"it has {head.length} bytes to give instead of {len(into)}")
    begun = data[end + 4 :]
    if len(begun) > len(into):
        _refuse("it gave more bytes than it announced")
    into[: len(begun)] = begun
    got, flags = len(begun), _ALL if type(connection) is socket.socket else 0
    while got < len(into):
        count = connection.recv_into(into[got:], 0, flags)
        if not count:
            _refuse(f"it gave {got} bytes instead of {len(into)}")
        got += count
    return head.keep


def _head(text: bytes) -> _Head:
    lines = text.split(b"\r\n")
    words = lines[0].split(None, 2)
    if len(words) < 2 or not words[0].startswith(b"HTTP/1.") or not words[1].isdigit():
        _refuse("its answer is no HTTP")
    length, keep = None, words[0] != b"HTTP/1.0"
    for line in lines[1:]:
        name, _, value = line.partition(b":")
        match name.strip().lower():
            case b"content-length":
                length = int(value) if value.strip().isdigit() else None
            case b"connection":
                keep = keep and b"close" not in value.lower()
            case b"transfer-encoding":
                keep = False  # how much it will be is not said, so it is refused
                length = None
    return _Head(int(words[1]), length, keep)


def _refuse(why: str) -> NoReturn:
    raise GetFailed(why)
