"""A store that is reached by URL, as an S3 store is: it enforces digests, and fails as a test wants."""

from __future__ import annotations

import hashlib
import socket
import struct
import threading
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from tests.unit.sdk.wire import Wire


class _Quiet(ThreadingHTTPServer):
    """Clients hang up here as they like."""

    def handle_error(self, *_: object) -> None:
        pass


class Store:
    """An HTTP store: takes what is PUT, gives what is there; `answer` may fail instead, once for each status in it."""

    def __init__(self, wire: Wire) -> None:
        self.wire = wire
        self.answers: list[int] = []
        self.damage: Callable[[bytes], bytes] = lambda data: data
        self.requests = 0
        self.served = 0
        """How many GETs got what they asked for."""
        self.sent = 0
        """Bytes of chunks that were given."""
        self.expire_after: int | None = None
        """After so many GETs the URLs that were given so far are refused."""
        self.faults: list[str] = []
        """What goes wrong with the next GETs: `reset`, `short`, `stall`, `garbage`, `long`; the next PUTs only `stall`."""
        self.released = threading.Event()
        self._generation = 0
        self._lock = threading.Lock()
        store = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_PUT(self) -> None:
                data = self.rfile.read(int(self.headers["Content-Length"]))
                status = store.status()
                if store.fault() == "stall":
                    self.close_connection = True
                    store.released.wait(20)
                    return
                sha256 = bytes.fromhex(self.path.split("?")[0].strip("/"))
                if status == 200 and hashlib.sha256(data).digest() != sha256:
                    status = 400
                if status == 200:
                    store.wire.blob.completed[sha256] = data
                self.reply(status, b"")

            def do_GET(self) -> None:
                status = store.admit(self.path)
                data = store.damage(store.wire.blob.chunks[bytes.fromhex(self.path.split("?")[0].strip("/"))])
                wanted = self.headers.get("Range")
                if wanted and status == 200:
                    first, _, last = wanted.removeprefix("bytes=").partition("-")
                    data, status = data[int(first) : int(last) + 1], 206
                fault = store.fault() if status < 300 else ""
                if fault:
                    return self.break_off(fault, status, data)
                if status < 300:
                    with store._lock:
                        store.served += 1
                        store.sent += len(data)
                return self.reply(status, data if status < 300 else b"<Error>")

            def break_off(self, fault: str, status: int, data: bytes) -> None:
                self.close_connection = True
                if fault == "garbage":
                    self.wfile.write(b"220 this is another protocol\r\n\r\n")
                    return
                self.send_response(status)
                self.send_header("Content-Length", str(len(data) + (1 if fault == "long" else 0)))
                self.end_headers()
                self.wfile.write(data[: len(data) // 2])
                self.wfile.flush()
                if fault == "stall":
                    store.released.wait(20)
                if fault == "reset":
                    self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                    self.connection.close()

            def reply(self, status: int, data: bytes) -> None:
                self.send_response(status)
                self.send_header("Content-Length", str(len(data)))
                self.end_headers()
                self.wfile.write(data)

            def log_message(self, *_: object) -> None:
                pass

        self.server = _Quiet(("127.0.0.1", 0), Handler)
        threading.Thread(target=self.server.serve_forever, args=(0.02,), daemon=True).start()

    def status(self) -> int:
        self.requests += 1
        return self.answers.pop(0) if self.answers else 200

    def admit(self, path: str) -> int:
        """The status of a GET: 403 for a URL of the generation before."""
        with self._lock:
            if self.expire_after is not None and self.served >= self.expire_after:
                self.expire_after = None
                self._generation += 1
            if f"generation={self._generation}" not in path:
                self.requests += 1
                return 403
            return self.status()

    def fault(self) -> str:
        with self._lock:
            return self.faults.pop(0) if self.faults else ""

    def url(self, sha256: bytes) -> str:
        where = f"http://127.0.0.1:{self.server.server_address[1]}/{sha256.hex()}"
        return f"{where}?generation={self._generation}&X-Amz-Signature=canary"

    def close(self) -> None:
        self.released.set()
        self.server.shutdown()
        self.server.server_close()
