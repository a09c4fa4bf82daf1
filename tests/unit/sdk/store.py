"""A store that is reached by URL, as an S3 store is: it enforces digests, and fails as a test wants."""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from tests.unit.sdk.wire import Wire


class Store:
    """An HTTP store: takes what is PUT, gives what is there; `answer` may fail instead, once for each status in it."""

    def __init__(self, wire: Wire) -> None:
        self.wire = wire
        self.answers: list[int] = []
        self.damage: Callable[[bytes], bytes] = lambda data: data
        self.requests = 0
        store = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_PUT(self) -> None:
                data = self.rfile.read(int(self.headers["Content-Length"]))
                status = store.status()
                sha256 = bytes.fromhex(self.path.split("?")[0].strip("/"))
                if status == 200 and hashlib.sha256(data).digest() != sha256:
                    status = 400
                if status == 200:
                    store.wire.blob.completed[sha256] = data
                self.reply(status, b"")

            def do_GET(self) -> None:
                status = store.status()
                data = store.damage(store.wire.blob.chunks[bytes.fromhex(self.path.split("?")[0].strip("/"))])
                wanted = self.headers.get("Range")
                if wanted and status == 200:
                    first, _, last = wanted.removeprefix("bytes=").partition("-")
                    data, status = data[int(first) : int(last) + 1], 206
                self.reply(status, data if status < 300 else b"<Error>")

            def reply(self, status: int, data: bytes) -> None:
                self.send_response(status)
                self.send_header("Content-Length", str(len(data)))
                self.end_headers()
                self.wfile.write(data)

            def log_message(self, *_: object) -> None:
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def status(self) -> int:
        self.requests += 1
        return self.answers.pop(0) if self.answers else 200

    def url(self, sha256: bytes) -> str:
        return f"http://127.0.0.1:{self.server.server_address[1]}/{sha256.hex()}?X-Amz-Signature=canary"

    def close(self) -> None:
        self.server.shutdown()
        self.server.server_close()
