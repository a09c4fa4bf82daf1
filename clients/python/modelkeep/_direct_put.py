"""Chunks straight to the store, by the URLs that the blob service signs. A URL is a secret: it is in no log and no error.

Over plain HTTP the kernel sends the bytes from the file that they lie in. One PUT of a chunk costs Python some lines of text,
so this speaks just as much HTTP/1.1 as that takes.
"""

from __future__ import annotations

import os
import socket
import ssl
import struct
import threading
from contextlib import suppress
from typing import TYPE_CHECKING, Final
from urllib.parse import urlsplit

from modelkeep.errors import ServiceUnavailable

if TYPE_CHECKING:
    from modelkeep._pieces import Piece
    from modelkeep.config import Config

CONNECT_SECONDS: Final = 10
SILENCE_SECONDS: Final = 60
"""How long a store may take or give nothing."""
_PART_BYTES: Final = 1 << 20
_MOST_ANSWER_BYTES: Final = 64 * 1024
_MORE: Final = getattr(socket, "MSG_MORE", 0)
_SENDS_FILES: Final = hasattr(os, "sendfile")
_BUSY: Final = frozenset({429, 500, 502, 503, 504})


class PutFailed(Exception):
    """The store did not take the bytes. Never leaves the SDK: it asks for another URL, or goes through the server."""

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


class Puts:
    """HTTP connections to stores, kept for the next chunk. Any number of threads may use it, in one process."""

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

    def put(self, url: str, piece: Piece) -> None:
        """Store a chunk. Raises PutFailed, FileUnreadable, FileChanged."""
        parts = urlsplit(url)
        host = parts.hostname or ""
        where = (parts.scheme, host, parts.port or (443 if parts.scheme == "https" else 80))
        target = f"{parts.path or '/'}?{parts.query}" if parts.query else parts.path or "/"
        host_header = parts.netloc.rpartition("@")[2]
        head = f"PUT {target} HTTP/1.1\r\nHost: {host_header}\r\nContent-Length: {piece.size_bytes}\r\n\r\n".encode("latin-1")
        status = self._sent(where, head, piece)
        if status not in {200, 201, 204}:
            raise PutFailed(f"it answered a PUT with {status}", status=status)

    def _sent(self, where: tuple[str, str, int], head: bytes, piece: Piece) -> int:
        """Send a request; the status of its answer."""
        connection = self._kept(where)
        if connection is not None:
            with suppress(_ClosedBefore):  # it had been kept for longer than the store liked
                return self._sent_over(connection, where, head, piece)
        try:
            return self._sent_over(self._connect(where), where, head, piece)
        except _ClosedBefore:
            raise PutFailed("the connection broke") from None

    def _sent_over(self, connection: socket.socket, where: tuple[str, str, int], head: bytes, piece: Piece) -> int:
        keep = False
        try:
            status, keep = _exchange(connection, head, piece)
        except (BlockingIOError, TimeoutError):
            raise PutFailed("it was silent for too long") from None
        except OSError as error:
            raise PutFailed(f"the connection broke ({type(error).__name__})") from None
        finally:
            if keep:
                with self._lock:
                    self._idle.setdefault(where, []).append(connection)
            else:
                connection.close()
        return status

    def _kept(self, where: tuple[str, str, int]) -> socket.socket | None:
        with self._lock:
            kept = self._idle.get(where)
            return kept.pop() if kept else None

    def _connect(self, where: tuple[str, str, int]) -> socket.socket:
        scheme, host, port = where
        try:
            connection = socket.create_connection((host, port), timeout=CONNECT_SECONDS)
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            if scheme == "https":
                connection = self._context().wrap_socket(connection, server_hostname=host)
                connection.settimeout(SILENCE_SECONDS)
                return connection
            # The kernel's own timeouts: Python's would need a poll before each call.
            connection.settimeout(None)
            for option in (socket.SO_SNDTIMEO, socket.SO_RCVTIMEO):
                connection.setsockopt(socket.SOL_SOCKET, option, struct.pack("ll", SILENCE_SECONDS, 0))
        except OSError as error:
            raise PutFailed(f"no connection ({type(error).__name__})", reached=False) from None
        return connection

    def _context(self) -> ssl.SSLContext:
        if self._tls is None:
            self._tls = ssl.create_default_context(cafile=self._ca_file)
        return self._tls


class _ClosedBefore(Exception):
    """The connection was closed before anything was answered."""


def _exchange(connection: socket.socket, head: bytes, piece: Piece) -> tuple[int, bool]:
    """Send a request; the status of the answer, and whether the connection may be used again."""
    try:
        _send(connection, head, piece)
    except (BrokenPipeError, ConnectionResetError) as error:
        # A store that refuses need not read to the end; what it said may be there to be read.
        with suppress(OSError, _ClosedBefore):
            return _answer(connection)[0], False
        raise _ClosedBefore from error
    return _answer(connection)


def _send(connection: socket.socket, head: bytes, piece: Piece) -> None:
    with piece.opened() as place:
        if place is None or not _SENDS_FILES or isinstance(connection, ssl.SSLSocket):
            connection.sendall(head, _MORE if not isinstance(connection, ssl.SSLSocket) else 0)
            for part in piece.parts(_PART_BYTES):
                connection.sendall(part)
            return
        connection.sendall(head, _MORE)
        (descriptor, offset), left = place, piece.size_bytes
        out = connection.fileno()
        while left:
            sent = os.sendfile(out, descriptor, offset, left)
            if not sent:
                raise piece.changed()
            offset, left = offset + sent, left - sent


def _answer(connection: socket.socket) -> tuple[int, bool]:
    data = b""
    while (end := data.find(b"\r\n\r\n")) < 0:
        more = connection.recv(4096)
        if not more:
            if not data:
                raise _ClosedBefore
            raise PutFailed("it broke off in its answer")
        data += more
        if len(data) > _MOST_ANSWER_BYTES:
            raise PutFailed("its answer is no answer to a PUT")
    lines = data[:end].split(b"\r\n")
    words = lines[0].split(None, 2)
    if len(words) < 2 or not words[0].startswith(b"HTTP/1.") or not words[1].isdigit():
        raise PutFailed("its answer is no HTTP")
    status, length, close = int(words[1]), None, words[0] == b"HTTP/1.0"
    for line in lines[1:]:
        name, _, value = line.partition(b":")
        match name.strip().lower():
            case b"content-length":
                length = int(value) if value.strip().isdigit() else None
            case b"connection":
                close = close or b"close" in value.lower()
            case b"transfer-encoding":
                close = True
    if status == 204:
        length = 0
    left = (length or 0) - (len(data) - end - 4)
    if status < 200 or length is None or close or left < 0 or left > _MOST_ANSWER_BYTES:
        return status, False
    while left:
        more = connection.recv(left)
        if not more:
            return status, False
        left -= len(more)
    return status, True
