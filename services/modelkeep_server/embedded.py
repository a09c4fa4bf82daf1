"""The whole suite in this process: what `modelkeep up` runs, and what `modelkeep.testing` starts in a thread.

Clients of this user find it by a file, `server.json` in the user's configuration folder, from whatever working directory. The
file holds the address and the server's own key, only its owner can read it, and it goes when the server goes. A server that
finds the file of another living one leaves it alone; the same file always stands in its data folder too.
"""

from __future__ import annotations

import asyncio
import json
import os
import threading
from collections.abc import AsyncIterator
from concurrent.futures import Future
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from modelkeep_server import suite
from modelkeep_server.metadata import module as metadata
from modelkeep_server.runtime import files, logs
from modelkeep_server.runtime.lifecycle import is_locked
from modelkeep_server.settings import Settings, load

FILE_NAME: Final = "server.json"


@dataclass(frozen=True)
class Embedded:
    """An embedded server that runs."""

    url: str
    api_key: str
    """An admin's key of the team `default`. Never log it."""
    config_home: Path
    """The folder by which clients find it: the user's, or its data folder when another server has the user's."""


@asynccontextmanager
async def findable(settings: Settings, url: str, config_home: Path | None) -> AsyncIterator[Embedded]:
    """Tell the clients of this user where all services run, unless `config_home` is None; and no more in the end."""
    data = settings.runtime.data_dir.absolute()
    key = await metadata.embedded_key(settings.metadata)
    content = json.dumps({"url": url, "api_key": key, "pid": os.getpid(), "data": str(data)}).encode()
    homes = [data]
    if config_home is not None and not _belongs_to_another(config_home / FILE_NAME, data):
        homes.insert(0, config_home)
    try:
        for home in homes:
            files.write(home / FILE_NAME, content)
        yield Embedded(url, key, homes[0])
    finally:
        for home in homes:
            _remove(home / FILE_NAME, content)


def _belongs_to_another(file: Path, data: Path) -> bool:
    """Whether the server that wrote the file is another one, and still runs."""
    try:
        theirs = Path(json.loads(file.read_bytes())["data"])
    except (OSError, ValueError, KeyError, TypeError):
        return False
    return theirs != data and is_locked(theirs, "metadata")


def _remove(file: Path, content: bytes) -> None:
    with suppress(OSError):
        if file.read_bytes() == content:
            file.unlink()


class Running:
    """An embedded server in a thread of this process. Use `start`."""

    def __init__(self, settings: Settings) -> None:
        self._loop = asyncio.new_event_loop()
        self._stop = asyncio.Event()
        self._ready: Future[Embedded] = Future()
        self._thread = threading.Thread(target=self._run, args=(settings,), name="modelkeep", daemon=True)
        self._thread.start()
        embedded = self._ready.result()
        self.url = embedded.url
        """Where it listens: `grpc://127.0.0.1:PORT`."""
        self.api_key = embedded.api_key
        """An admin's key of the team `default`."""

    def stop(self) -> None:
        """Drain it and wait for its end. Stopping again changes nothing."""
        if self._thread.is_alive():
            with suppress(RuntimeError):  # its loop ended meanwhile
                self._loop.call_soon_threadsafe(self._stop.set)
            self._thread.join()

    def _run(self, settings: Settings) -> None:
        with asyncio.Runner(loop_factory=lambda: self._loop) as runner:
            runner.run(self._serve(settings))

    async def _serve(self, settings: Settings) -> None:
        try:
            async with suite.serving(settings, list(suite.PARTS)) as url, findable(settings, url, None) as embedded:
                self._ready.set_result(embedded)
                await self._stop.wait()
        except BaseException as error:
            if self._ready.done():
                raise
            self._ready.set_exception(error)


def start(settings: Settings | None = None, *, data_dir: Path | None = None) -> Running:
    """Start the whole suite in a thread, for this process alone: no file tells others of it.

    `settings` are those to run with; else the defaults in `data_dir`, on a free port of the loopback, whatever the environment
    and `modelkeep.toml` say. Raises CannotStart.
    """
    logs.configure_as_library()
    if settings is None:
        runtime: dict[str, object] = {"listen": "127.0.0.1:0", **({} if data_dir is None else {"data_dir": data_dir})}
        settings = load({"runtime": runtime}, defaults=suite.WHOLE, alone=True).settings
    return Running(settings)
