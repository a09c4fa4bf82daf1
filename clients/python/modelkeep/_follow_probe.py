"""How others see whether a node is ready: a file, or two pages over HTTP."""

from __future__ import annotations

import json
import os
import threading
from contextlib import suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from modelkeep.errors import InvalidArgument, TargetUnusable

if TYPE_CHECKING:
    from collections.abc import Callable

_IDLE_SECONDS: Final = 5


class ReadyFile:
    """A file that is there while something is loaded. It says what."""

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self.path = Path(path)

    def show(self, status: dict[str, Any]) -> None:
        """Write it when something is loaded, else remove it. Raises TargetUnusable.

        It is tried in both cases: a probe that can never pass is told at once, and not when the model is there.
        """
        temporary = self.path.with_name(f".writing-{self.path.name}")
        try:
            try:
                temporary.write_text(json.dumps(status["loaded"]) + "\n", encoding="utf-8")
                if status["ready"]:
                    temporary.replace(self.path)
                else:
                    self.path.unlink(missing_ok=True)
            finally:
                temporary.unlink(missing_ok=True)
        except OSError as error:
            raise TargetUnusable(f"{self.path} cannot be written: {error.strerror}", path=str(self.path)) from None

    def close(self) -> None:
        """Remove it: nobody follows any more."""
        with suppress(OSError):
            self.path.unlink(missing_ok=True)


class ReadyPages:
    """`/ready` is 200 while something is loaded, else 503; `/status` tells everything as JSON, and is always 200."""

    def __init__(self, address: str, status: Callable[[], dict[str, Any]]) -> None:
        """Listen on `port` of the loopback, or on `host:port`. Raises InvalidArgument."""
        host, _, port = address.rpartition(":")
        if not port.isdecimal() or int(port) > 65535:
            message = f"{address[:100]!r} is no address to listen on; expected a port, or host:port"
            raise InvalidArgument(message, field="ready_port", value=address[:100])
        where = (host.strip("[]") or "127.0.0.1", int(port))
        try:
            self._server = ThreadingHTTPServer(where, type("Handler", (_Handler,), {"status": staticmethod(status)}))
        except OSError as error:
            message = f"cannot listen on {where[0]}:{port}: {error.strerror}; choose another with --ready-port"
            raise InvalidArgument(message, field="ready_port", value=address[:100]) from None
        self._server.daemon_threads = True
        self.address = f"{where[0]}:{self._server.server_address[1]}"
        """Where it listens, as `host:port`."""
        self._thread = threading.Thread(target=self._server.serve_forever, name="modelkeep-ready", daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Listen no more."""
        self._server.shutdown()
        self._server.server_close()
        self._thread.join(5)


class _Handler(BaseHTTPRequestHandler):
    status: Callable[[], dict[str, Any]]
    timeout = _IDLE_SECONDS

    def do_GET(self) -> None:
        """Answer a page."""
        status = self.status()
        match self.path.partition("?")[0]:
            case "/ready":
                about = {"ready": status["ready"], "loaded": status["loaded"]}
                self._answer(200 if status["ready"] else 503, about)
            case "/status":
                self._answer(200, status)
            case _:
                self._answer(404, {"error": "there are /ready and /status"})

    do_HEAD = do_GET  # noqa: N815 - the name that the library looks for

    def _answer(self, code: int, content: dict[str, Any]) -> None:
        body = (json.dumps(content, indent=2) + "\n").encode()
        self.send_response(code)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.send_header("Cache-Control", "no-store")
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def log_message(self, format: str, *arguments: object) -> None:  # noqa: A002 - the name that the library has
        """Probes come every few seconds; nobody wants to read about them."""
