"""Chunks straight to the store: over plain HTTP the kernel sends them from the file that they lie in."""

from __future__ import annotations

import os
import socket
from contextlib import suppress
from functools import partial
from typing import TYPE_CHECKING, Final

from modelkeep._direct import MOST_HEAD_BYTES, ClosedBefore, Connections, Place, StoreFailed, read_head

if TYPE_CHECKING:
    from modelkeep._pieces import Piece

_PART_BYTES: Final = 1 << 20
_MORE: Final = getattr(socket, "MSG_MORE", 0)
_SENDS_FILES: Final = hasattr(os, "sendfile")


class Puts(Connections):
    """Sends chunks to stores. Any number of threads may use it, in one process."""

    def put(self, url: str, piece: Piece) -> None:
        """Store a chunk. Raises StoreFailed, FileUnreadable, FileChanged."""
        place = Place.of(url)
        head = place.request("PUT", f"Content-Length: {piece.size_bytes}")
        status = self.exchange(place.store, partial(_exchange, head=head, piece=piece))
        if status not in {200, 201, 204}:
            raise StoreFailed(f"it answered a PUT with {status}", status=status)


def _exchange(connection: socket.socket, head: bytes, piece: Piece) -> tuple[int, bool]:
    """Send a request; the status of the answer, and whether the connection may be used again."""
    try:
        _send(connection, head, piece)
    except (BrokenPipeError, ConnectionResetError) as error:
        # A store that refuses need not read to the end; what it said may be there to be read.
        with suppress(OSError, ClosedBefore):
            return _answer(connection)[0], False
        raise ClosedBefore from error
    return _answer(connection)


def _send(connection: socket.socket, head: bytes, piece: Piece) -> None:
    plain = type(connection) is socket.socket
    with piece.opened() as place:
        if place is None or not _SENDS_FILES or not plain:
            connection.sendall(head, _MORE if plain else 0)
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
    head, begun = read_head(connection)
    length = 0 if head.status == 204 else head.length
    left = (length or 0) - len(begun)
    if head.status < 200 or length is None or not head.keep or not 0 <= left <= MOST_HEAD_BYTES:
        return head.status, False
    while left:
        more = connection.recv(left)
        if not more:
            return head.status, False
        left -= len(more)
    return head.status, True
