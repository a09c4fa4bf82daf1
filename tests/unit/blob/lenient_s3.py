"""An S3 store that is too kind: it checks no signature and no digest, and can be told to obey headers that nobody signed.

Stores like it exist; ours must find out (DESIGN §2). Just enough of the protocol for the S3 backend.
"""

from __future__ import annotations

import threading
from base64 import b64encode
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from hashlib import sha256
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs, unquote, urlsplit
from xml.sax.saxutils import escape


@dataclass
class LenientS3:
    """What it holds, and what it obeys."""

    enforces_digest: bool = False
    obeys: frozenset[str] = frozenset()
    """Names of headers that make it forget the signed digest."""
    objects: dict[str, bytes] = field(default_factory=dict)
    refused: int = 0
    busy: int = 0
    """How many of the next requests it sends away, …"""
    busy_on: str = ""
    """… of which method (of any, when it is empty), …"""
    busy_status: int = 503
    busy_body: bytes = b"<Error><Code>SlowDown</Code><Message>Please reduce your request rate.</Message></Error>"
    busy_headers: dict[str, str] = field(default_factory=dict)
    """… and with what words."""
    endpoint: str = ""

    def take(self, path: str, query: dict[str, list[str]], headers: dict[str, str], body: bytes) -> bool:
        """A PUT; false when it is refused."""
        if (source := headers.get("x-amz-copy-source")) and "x-amz-copy-source" in self.obeys:
            self.objects[path] = self.objects[unquote(source)]
            return True
        signed = query.get("x-amz-checksum-sha256", [""])[0]
        ignores = self.obeys & headers.keys()
        if self.enforces_digest and not ignores and b64encode(sha256(body).digest()).decode() != signed:
            self.refused += 1
            return False
        self.objects[path] = body
        return True


@contextmanager
def lenient_s3(store: LenientS3) -> Iterator[LenientS3]:
    """Serve it."""

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def log_message(self, *_: object) -> None:
            pass

        def parse_request(self) -> bool:
            """Send away what comes while the store is busy, whatever it is."""
            if not super().parse_request():
                return False
            if store.busy <= 0 or store.busy_on not in {"", self.command}:
                return True
            store.busy -= 1
            self.read()
            self.answer(store.busy_status, b"" if self.command == "HEAD" else store.busy_body, headers=store.busy_headers)
            return False

        def answer(
            self, status: int, body: bytes = b"", size: int | None = None, headers: dict[str, str] | None = None
        ) -> None:
            self.send_response(status)
            for name, value in {"Content-Type": "application/xml", **(headers or {})}.items():
                self.send_header(name, value)
            self.send_header("Content-Length", str(len(body) if size is None else size))
            self.send_header("Last-Modified", "Sun, 22 Nov 2026 07:01:39 GMT")
            self.send_header("ETag", '"e"')
            self.end_headers()
            self.wfile.write(body)

        def read(self) -> bytes:
            return self.rfile.read(int(self.headers.get("Content-Length", 0)))

        def do_PUT(self) -> None:
            url, body = urlsplit(self.path), self.read()
            if url.path.count("/") == 1 or url.path.endswith("/"):
                return self.answer(200)
            headers = {name.lower(): value for name, value in self.headers.items()}
            taken = store.take(unquote(url.path), parse_qs(url.query), headers, body)
            return self.answer(200 if taken else 400, b"" if taken else b"<Error><Code>BadDigest</Code></Error>")

        def do_GET(self) -> None:
            url = urlsplit(self.path)
            if "list-type" in parse_qs(url.query):
                return self.answer(200, listing(store.objects, url.path.strip("/")))
            content = store.objects.get(unquote(url.path))
            if content is None:
                return self.answer(404, b"<Error><Code>NoSuchKey</Code></Error>")
            first, _, last = self.headers.get("Range", "bytes=0-").removeprefix("bytes=").partition("-")
            return self.answer(206, content[int(first) : int(last or len(content)) + 1])

        def do_HEAD(self) -> None:
            content = store.objects.get(unquote(urlsplit(self.path).path))
            is_bucket = unquote(self.path).strip("/").count("/") == 0
            self.answer(200 if content is not None or is_bucket else 404, size=len(content or b""))

        def do_POST(self) -> None:
            keys = self.read().decode().split("<Key>")[1:]
            for key in keys:
                store.objects.pop(f"/{urlsplit(self.path).path.strip('/')}/{key.partition('<')[0]}", None)
            self.answer(200, b'<DeleteResult xmlns="http://s3.amazonaws.com/doc/2006-03-01/"></DeleteResult>')

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    store.endpoint = f"http://127.0.0.1:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield store
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def listing(objects: dict[str, bytes], bucket: str) -> bytes:
    items = "".join(
        f"<Contents><Key>{escape(path.removeprefix(f'/{bucket}/'))}</Key><Size>{len(content)}</Size></Contents>"
        for path, content in sorted(objects.items())
    )
    head = '<ListBucketResult xmlns="http://s3.amazonaws.com/doc/2006-03-01/">'
    return f"{head}<Name>{bucket}</Name><IsTruncated>false</IsTruncated>{items}</ListBucketResult>".encode()
