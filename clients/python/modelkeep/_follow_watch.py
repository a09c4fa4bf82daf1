"""Watching an alias for as long as it takes: one stream after the other, and patience in between.

A thousand nodes lose their server in the same moment, so each waits a random time before it comes back, longer each time.
"""

from __future__ import annotations

import threading
import time
from dataclasses import dataclass, replace
from random import SystemRandom
from typing import TYPE_CHECKING, Any, Final
from uuid import uuid4

from modelkeep._channel import connect
from modelkeep._fork import gate
from modelkeep._status import retry_after_seconds
from modelkeep.address import Address
from modelkeep.api.metadata.v1 import metadata_service_pb2 as pb
from modelkeep.errors import Cancelled, InternalError, InvalidAddress, ModelkeepError
from modelkeep.names import AliasName, VersionName

if TYPE_CHECKING:
    from collections.abc import Callable

    from modelkeep._channel import Connection
    from modelkeep.api.metadata.v1 import version_pb2
    from modelkeep.config import Config

STREAM_SECONDS: Final = 7200.0
"""The deadline of a stream; the server ends it within an hour."""
SILENT_SECONDS: Final = 60.0
"""A stream that says nothing for so long is given up; heartbeats come every 20 s."""
CALL_SECONDS: Final = 20.0
"""The deadline of the small calls, with all their tries: the next round tries again anyway."""
FIRST_WAIT_SECONDS: Final = 0.5
LONGEST_WAIT_SECONDS: Final = 30.0

_random: Final = SystemRandom()


def alias_of(address: str, team: str, project: str) -> AliasName:
    """The alias that an address names; `latest` when it names none. Raises InvalidAddress for what never moves."""
    parsed = Address.parse(address, team, project)
    if not parsed.alias or parsed.moment is not None:
        message = f"{address[:200]!r} never moves, so it cannot be followed; name an alias: name:alias, or name for its latest"
        raise InvalidAddress(message, address=address[:200])
    return parsed.collection.alias(parsed.alias)


class Backoff:
    """How long to wait before the next try: exponential, with full jitter."""

    def __init__(self, first_seconds: float = FIRST_WAIT_SECONDS, longest_seconds: float = LONGEST_WAIT_SECONDS) -> None:
        self._first, self._longest = first_seconds, longest_seconds
        self._wait = first_seconds

    def reset(self) -> None:
        """It went well."""
        self._wait = self._first

    def seconds(self, error: ModelkeepError | None = None) -> float:
        """How long to wait now; what a server asks for comes on top."""
        asked = (retry_after_seconds(error) if error else None) or 0.0
        wait, self._wait = self._wait, min(self._wait * 2, self._longest)
        return asked + wait * _random.random()


@dataclass(frozen=True, slots=True)
class AliasState:
    """Where the alias points, as the server says."""

    alias: AliasName
    seq: int
    version: version_pb2.Version | None
    """None when the alias points nowhere."""
    connection: Connection


class Watch:
    """Watches an alias in a thread of its own, until it is stopped."""

    def __init__(
        self,
        config: Callable[[], Config],
        address: str,
        told: Callable[[AliasState | None], None],
        failed: Callable[[ModelkeepError], None],
    ) -> None:
        """`told` gets each state, and None for a heartbeat; `failed`, why there is no stream. Both in the watch's thread."""
        self._config = config
        self._address = address
        self._told = told
        self._failed = failed
        self._stopping = threading.Event()
        self._call: Any = None
        self._heard = 0.0
        self._thread = threading.Thread(target=self._run, name="modelkeep-watch", daemon=True)

    def start(self) -> None:
        """Begin."""
        self._thread.start()

    def stop(self) -> None:
        """End. A call that hangs is not waited for."""
        self._stopping.set()
        self._interrupt()
        if self._thread.is_alive():
            self._thread.join(2)

    def check(self) -> None:
        """Give a stream up that has become silent: whoever should speak is gone, and nobody told us."""
        if self._call is not None and time.monotonic() - self._heard > SILENT_SECONDS:
            self._interrupt()

    def _interrupt(self) -> None:
        call = self._call
        if call is not None:
            call.cancel()

    def _run(self) -> None:
        backoff = Backoff()
        while not self._stopping.is_set():
            wait = FIRST_WAIT_SECONDS * _random.random()
            try:
                self._stream(backoff)
            except Cancelled:
                pass  # stopped, silent, or a fork went on: begin again
            except ModelkeepError as error:
                self._failed(error)
                wait = backoff.seconds(error)
            except Exception as error:  # noqa: BLE001 - a watch that ended for good would be the worst of all
                self._failed(InternalError(f"{type(error).__name__}: {error}"))
                wait = backoff.seconds()
            self._stopping.wait(wait)

    def _stream(self, backoff: Backoff) -> None:
        config = self._config()
        connection = connect(replace(config, timeout_seconds=min(config.timeout_seconds, CALL_SECONDS)))
        alias = alias_of(self._address, connection.team, config.project)
        request = pb.WatchAliasRequest(name=str(alias))
        gate.interrupts.add(self._interrupt)
        try:
            stream = connection.stream("metadata", "WatchAlias", request, STREAM_SECONDS, uuid4().hex, started=self._begun)
            for message in stream:
                self._heard = time.monotonic()
                backoff.reset()
                self._told(_state(message, alias, connection) if message.HasField("alias") else None)
                if self._stopping.is_set():
                    return
        finally:
            gate.interrupts.discard(self._interrupt)
            self._call = None

    def _begun(self, call: Any) -> None:
        self._heard, self._call = time.monotonic(), call
        if self._stopping.is_set() or gate.is_closed:  # whoever wants its end may have looked for it a moment too early
            call.cancel()


def _state(message: pb.WatchAliasResponse, alias: AliasName, connection: Connection) -> AliasState:
    version = message.version if message.HasField("version") else None
    if message.alias.name != str(alias) or (version and VersionName.parse(version.name).parent != alias.parent):
        raise InternalError(f"asked about {alias}, the server told about {message.alias.name} and {version and version.name}")
    return AliasState(alias, message.alias.seq, version, connection)
