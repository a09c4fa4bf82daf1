"""A TCP proxy that counts and misbehaves: resets, stalls, truncates and slows what passes (RELIABILITY §6).

with Proxy("127.0.0.1:7460") as proxy:
    use(f"grpc://{proxy.address}")
    proxy.reset_after(1 << 20)        # the connection breaks a MiB further on, once
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
import struct
import threading
from types import TracebackType
from typing import Self

PIECE = 64 * 1024
PATIENCE_SECONDS = 60
"""How long a start or an end may take on a busy machine."""


class Proxy:
    """Forwards connections to `target` ("host:port"), in a thread of its own."""

    def __init__(self, target: str) -> None:
        host, _, port = target.rpartition(":")
        self._target = (host, int(port))
        self._loop = asyncio.new_event_loop()
        self._server: asyncio.Server | None = None
        self._writers: set[asyncio.StreamWriter] = set()
        self.address = ""
        self.bytes_up = 0
        """Bytes that clients sent."""
        self.bytes_down = 0
        """Bytes that the target sent."""
        self.connections = 0
        self._budget: int | None = None
        self._close_politely = False
        self._stalled = threading.Event()
        self.latency_seconds = 0.0
        self.bytes_per_second = 0
        """How fast bytes go up, over all connections; 0 means as fast as they can."""
        self._free_at = 0.0

    @property
    def bytes_total(self) -> int:
        return self.bytes_up + self.bytes_down

    def reset_after(self, count: int) -> None:
        """Break every connection with a reset once `count` more bytes went up; once."""
        self._budget, self._close_politely = count, False

    def truncate_after(self, count: int) -> None:
        """End every connection as if the target had finished once `count` more bytes went up; once."""
        self._budget, self._close_politely = count, True

    def stall(self) -> None:
        """Accept and hold, but pass nothing on."""
        self._stalled.set()

    def resume(self) -> None:
        """Pass on again."""
        self._stalled.clear()

    def cut(self) -> None:
        """Reset every open connection now."""
        self._loop.call_soon_threadsafe(self._break_all)

    def __enter__(self) -> Self:
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)
        self._thread.start()
        asyncio.run_coroutine_threadsafe(self._start(), self._loop).result(PATIENCE_SECONDS)
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        asyncio.run_coroutine_threadsafe(self._stop(), self._loop).result(PATIENCE_SECONDS)
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(PATIENCE_SECONDS)
        self._loop.close()

    async def _start(self) -> None:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        host, port = self._server.sockets[0].getsockname()
        self.address = f"{host}:{port}"

    async def _stop(self) -> None:
        assert self._server is not None
        self._server.close()
        self.resume()
        self._close_politely = False
        while tasks := asyncio.all_tasks() - {asyncio.current_task()}:
            self._break_all()  # again: one that had just come may be connected to the target only now
            await asyncio.wait(tasks, timeout=0.1)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        try:
            upstream_reader, upstream_writer = await asyncio.open_connection(*self._target)
        except OSError:
            writer.transport.abort()
            return
        pair = {writer, upstream_writer}
        self._writers |= pair
        try:
            await asyncio.gather(self._pump(reader, upstream_writer, up=True), self._pump(upstream_reader, writer, up=False))
        finally:
            self._writers -= pair
            for one in pair:
                one.transport.abort()

    async def _pump(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, *, up: bool) -> None:
        with contextlib.suppress(ConnectionError, asyncio.IncompleteReadError):
            while piece := await reader.read(PIECE):
                while self._stalled.is_set():
                    await asyncio.sleep(0.01)
                if self.latency_seconds:
                    await asyncio.sleep(self.latency_seconds)
                if up and self.bytes_per_second:
                    self._free_at = max(self._loop.time(), self._free_at) + len(piece) / self.bytes_per_second
                    await asyncio.sleep(self._free_at - self._loop.time())
                if up:
                    self.bytes_up += len(piece)
                    if self._spent(len(piece)):
                        return
                else:
                    self.bytes_down += len(piece)
                writer.write(piece)
                await writer.drain()
        with contextlib.suppress(ConnectionError, RuntimeError, OSError):
            if writer.can_write_eof():
                writer.write_eof()

    def _spent(self, count: int) -> bool:
        if self._budget is None:
            return False
        self._budget -= count
        if self._budget > 0:
            return False
        self._budget = None
        self._break_all()
        return True

    def _break_all(self) -> None:
        for writer in self._writers:
            if self._close_politely:
                writer.close()
                continue
            raw = writer.get_extra_info("socket")
            with contextlib.suppress(OSError):
                raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            writer.transport.abort()
