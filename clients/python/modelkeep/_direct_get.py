"""Chunks straight from the store: the bytes go from the connection into the buffer that they are wanted in.

It takes as few calls as the kernel allows: a thread that waits in the kernel leaves Python to the others.
"""

from __future__ import annotations

import socket
from functools import partial
from typing import Final

from modelkeep._direct import ClosedBefore, Connections, Place, StoreFailed, read_head

_ALL: Final = getattr(socket, "MSG_WAITALL", 0)


class Gets(Connections):
    """Takes bytes from stores. Any number of threads may use it, in one process."""

    def get(self, url: str, offset: int, into: memoryview, *, whole: bool) -> None:
        """Fill `into` with the bytes of an object from `offset` on; `whole` when they are all that it has.

        Raises StoreFailed.
        """
        place = Place.of(url)
        wanted = [] if whole else [f"Range: bytes={offset}-{offset + len(into) - 1}"]
        request = place.request("GET", *wanted, "Accept-Encoding: identity")
        self.exchange(place.store, partial(_ask, request=request, into=into, expected=200 if whole else 206))


def _ask(connection: socket.socket, request: bytes, into: memoryview, expected: int) -> tuple[None, bool]:
    """Send a request and read its answer; whether the connection may be used again."""
    try:
        connection.sendall(request)
        head, begun = read_head(connection)
    except (BrokenPipeError, ConnectionResetError) as error:
        raise ClosedBefore from error
    if head.status != expected:
        raise StoreFailed(f"it answered a GET with {head.status}", status=head.status)
    if head.length != len(into):
        raise StoreFailed(f"it has {head.length} bytes to give instead of {len(into)}")
    if len(begun) > len(into):
        raise StoreFailed("it gave more bytes than it announced")
    into[: len(begun)] = begun
    got, flags = len(begun), _ALL if type(connection) is socket.socket else 0
    while got < len(into):
        count = connection.recv_into(into[got:], 0, flags)
        if not count:
            raise StoreFailed(f"it gave {got} bytes instead of {len(into)}")
        got += count
    return None, head.keep
