"""Following an alias: the version that it points to, in a folder of this node, whole, checked, and there whatever happens.

with modelkeep.follow("vision/digits:production", root="/models") as current:
    model = load(current.path)
    while current.wait():
        model = load(current.path)
"""

from __future__ import annotations

import logging
import threading
import time
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime
from random import SystemRandom
from typing import TYPE_CHECKING, Any, Final, Self

from modelkeep import _signature, config
from modelkeep._follow_memory import Memory
from modelkeep._follow_root import CURRENT, FollowRoot, Loaded, now
from modelkeep._follow_watch import AliasState, Backoff, Watch, alias_of
from modelkeep._version import Version
from modelkeep.errors import (
    AccessTokenInvalid,
    AliasRolledBack,
    DeadlineExceeded,
    FailedPrecondition,
    InvalidArgument,
    ModelkeepError,
    NotConfigured,
    NotFound,
    PermissionDenied,
    Unauthenticated,
    Unimplemented,
)

if TYPE_CHECKING:
    import os
    from collections.abc import Callable, Iterable, Iterator
    from pathlib import Path

    from modelkeep._api import Api
    from modelkeep._signature import PublicKey

log = logging.getLogger("modelkeep.follow")

FATAL: Final = (InvalidArgument, NotFound, NotConfigured, PermissionDenied, Unauthenticated, Unimplemented)
"""What no patience helps against, while there is nothing to serve meanwhile."""
STOP_SECONDS: Final = 10.0
"""How long the end waits for a fetch under way; what it leaves behind, the next process goes on from."""
LEAST_WARN_AGE_SECONDS: Final = 30.0
"""A server with nothing new to say is heard of every 20 s, so less would warn of one that is well."""
_random: Final = SystemRandom()


@dataclass(frozen=True, slots=True)
class Wish:
    """How somebody wants to follow."""

    keep: int = 2
    on_change: Callable[[Follower], object] | None = None
    keys: PublicKey | Iterable[PublicKey] | None = None
    spread_seconds: float = 5.0
    warn_age_seconds: float = 900.0
    timeout_seconds: float | None = 300.0
    accept_rollback: bool = False
    config: Callable[[], config.Config] = field(default=config.load)

    def __post_init__(self) -> None:
        if self.keep < 1:
            message = f"keep is {self.keep}; at least the current version is kept"
            raise InvalidArgument(message, field="keep", value=self.keep)
        for name, least in (("spread_seconds", 0), ("warn_age_seconds", LEAST_WARN_AGE_SECONDS)):
            seconds = getattr(self, name)
            if not least <= seconds < 10**9:
                message = f"{name} is {seconds}; expected a number of seconds, at least {least:g}"
                raise InvalidArgument(message, field=name, value=seconds)


def follow(
    address: str,
    *,
    root: str | os.PathLike[str],
    keep: int = 2,
    on_change: Callable[[Follower], object] | None = None,
    require_signature: PublicKey | Iterable[PublicKey] | None = None,
    spread_seconds: float = 5.0,
    warn_age_seconds: float = 900.0,
    timeout_seconds: float | None = 300.0,
    accept_rollback: bool = False,
    api: Api | None = None,
) -> Follower:
    """Keep the version that `[[team/]project/]name:alias` points to in the folder `root`, where `current` leads to it.

    Use it as a context manager. It is entered with what is there already, however far away the server is; with an empty folder
    it waits for the first version, at most `timeout_seconds` (None: as long as it takes).

    `keep` versions stay in the folder. `on_change` is called after each switch, in a thread of its own; what it raises is
    logged. `require_signature` are the public keys of which one must have signed whatever is loaded. After a move of the alias
    this node waits a random time of at most `spread_seconds`, so that not all nodes fetch at once. When the server was not
    heard of for `warn_age_seconds`, at least 30, the status says so. A server that shows an older state of the alias than this
    node saw before is not believed, unless `accept_rollback`.

    Raises InvalidAddress, InvalidArgument; TargetUnusable (somebody follows into the folder already, or it cannot be used).
    """
    wish = Wish(
        keep,
        on_change,
        require_signature,
        spread_seconds,
        warn_age_seconds,
        timeout_seconds,
        accept_rollback,
        config.load if api is None else lambda: api._connection.config,  # noqa: SLF001 - one house
    )
    return Follower(address, root, wish)


class Follower:
    """What is loaded on this node; `modelkeep.follow` makes it."""

    def __init__(self, address: str, root: str | os.PathLike[str], wish: Wish) -> None:
        alias_of(address, "team", "project")
        self._keys = None if wish.keys is None else list(_signature.public_keys(wish.keys))
        self._address = address
        self._wish = wish
        self._root = FollowRoot(root)
        try:
            self._memory = Memory(
                self._root,
                address,
                wish.config,
                accept_rollback=wish.accept_rollback,
                warn_age_seconds=wish.warn_age_seconds,
            )
            self._root.say(address)
        except BaseException:
            self._root.close()
            raise
        self._changed = threading.Condition()
        self._stopping = False
        self._wanted: AliasState | None = None
        self._due = 0.0
        self._is_tidy = False
        self._backoff = Backoff(1, 60)
        self._switches = self._seen_switches = 0
        self.failure: ModelkeepError | None = None
        """What no patience helps against, while nothing is loaded."""
        self._watch = Watch(wish.config, address, self._told, self._failed)
        self._loader = threading.Thread(target=self._run, name="modelkeep-load", daemon=True)

    def start(self) -> None:
        """Begin to follow."""
        self._loader.start()
        self._watch.start()

    def close(self) -> None:
        """Follow no more. What is loaded stays in the folder."""
        with self._changed:
            self._stopping = True
            self._changed.notify_all()
        if self._loader.ident is not None:
            self._watch.stop()
            if self._loader is not threading.current_thread():  # `on_change` may end it
                self._loader.join(STOP_SECONDS)
        else:
            self._root.close()

    def __enter__(self) -> Self:
        self.start()
        try:
            self._await_first()
        except BaseException:
            self.close()
            raise
        self._seen_switches = self._switches
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @property
    def is_loading(self) -> bool:
        """Whether a thread is still at work for it."""
        return self._loader.is_alive()

    @property
    def path(self) -> Path:
        """The folder of the version that is loaded. It stays as it is when the alias moves on.

        Raises FailedPrecondition while nothing is loaded.
        """
        return self._root.folder(self._loaded.folder)

    @property
    def link(self) -> Path:
        """The link that always leads to what is loaded: `root/current`."""
        return self._root.path / CURRENT

    @property
    def name(self) -> str:
        """As people write it: `digits:v7`."""
        return self._loaded.name

    @property
    def version(self) -> str:
        """`v7`."""
        return self._loaded.version

    @property
    def digest(self) -> str:
        """The digest of what is loaded."""
        return self._loaded.digest

    @property
    def since(self) -> datetime:
        """When it was loaded."""
        return datetime.fromisoformat(self._loaded.since)

    @property
    def ready(self) -> bool:
        """Whether something is loaded."""
        return self._memory.loaded is not None

    def status(self) -> dict[str, Any]:
        """What is loaded and since when, what the server last said, and what goes wrong."""
        return self._memory.status()

    def wait(self, timeout_seconds: float | None = None) -> bool:
        """Wait for the next switch. False when none came in time, or when the following ended.

        A switch since the last `wait`, or since the beginning, counts: none is missed while a model is being loaded.
        """
        with self._changed:
            self._changed.wait_for(lambda: self._switches > self._seen_switches or self._stopping, timeout_seconds)
            switched, self._seen_switches = self._switches > self._seen_switches, self._switches
            return switched

    @contextmanager
    def reading(self) -> Iterator[Path]:
        """The folder of the version that is loaded, kept from being removed until the `with` block ends."""
        while True:
            loaded = self._loaded
            with self._root.reading(loaded.folder) as is_there:
                if is_there:
                    yield self._root.folder(loaded.folder)
                    return

    @property
    def _loaded(self) -> Loaded:
        loaded = self._memory.loaded
        if loaded is None:
            raise FailedPrecondition(f"nothing is loaded yet for {self._address}; wait until it is ready")
        return loaded

    def _await_first(self) -> None:
        timeout = self._wish.timeout_seconds
        with self._changed:
            self._changed.wait_for(lambda: self.ready or self.failure or self._stopping, timeout)
        if self.ready:
            return
        if self.failure:
            raise self.failure
        errors = "; ".join(error["message"] for error in self.status()["errors"].values())
        when = "before the following was ended" if self._stopping else f"within {timeout:g} s"
        message = f"{self._address} was not loaded {when}: {errors or 'the fetch takes longer'}"
        raise DeadlineExceeded(message, address=self._address)

    def _failed(self, error: ModelkeepError) -> None:
        """There is no stream."""
        self._memory.note("watch", error)
        with self._changed:
            if not self.ready and isinstance(error, FATAL) and not isinstance(error, AccessTokenInvalid):
                self.failure = error
            self._changed.notify_all()

    def _told(self, state: AliasState | None) -> None:
        """The server says where the alias points; None: where it did."""
        self._memory.heard()
        if state is None:
            return
        try:
            self._memory.accept(state)
        except AliasRolledBack as error:
            self._memory.note("alias", error)
            return
        if state.version is None:
            meanwhile = "what is loaded stays" if self.ready else "nothing is loaded until it does"
            nothing = FailedPrecondition(f"{state.alias.alias!r} points to no version; {meanwhile}")
            self._memory.note("alias", nothing)
        else:
            self._memory.well("alias")
        if self.ready and _digest(state) == self._loaded.digest:
            self._memory.well("load")  # what could not be loaded is not wanted any more
        with self._changed:
            if _digest(state) != _digest(self._wanted):
                self._backoff.reset()
                spread = self._wish.spread_seconds * _random.random() if self.ready else 0.0
                self._due = time.monotonic() + spread
            self._wanted = state
            self.failure = None
            self._changed.notify_all()

    def _run(self) -> None:
        try:
            self._follow()
        finally:
            self._root.close()  # not before a fetch under way is over

    def _follow(self) -> None:
        if self._memory.loaded and self._memory.announced != self._memory.loaded.folder:
            self._announce(self._memory.loaded)  # an earlier process ended between the switch and its end
        while (state := self._next()) is not None:
            try:
                self._load(state)
            except Exception as error:  # noqa: BLE001 - the old version stays, and the next try may go well
                self._memory.note("load", error)
                with self._changed:
                    asked = error if isinstance(error, ModelkeepError) else None
                    self._due = time.monotonic() + self._backoff.seconds(asked)
            else:
                self._backoff.reset()
                self._memory.well("load")

    def _next(self) -> AliasState | None:
        """The state to load now, once there is one; None at the end."""
        while True:
            self._watch.check()
            self._memory.warn_of_age()
            with self._changed:
                if self._stopping:
                    return None
                wanted, loaded, wait = self._wanted, self._memory.loaded, 1.0
                is_loaded = bool(wanted and loaded and loaded.digest == _digest(wanted))
                if wanted and wanted.version and not is_loaded:
                    wait = min(self._due - time.monotonic(), 1.0)
                    if wait <= 0:
                        return wanted
                if not is_loaded or self._is_tidy:
                    self._changed.wait(wait)
                    continue
            self._tidy()

    def _load(self, state: AliasState) -> None:
        """Fetch beside, check, switch, tell, and tidy up."""
        version = Version.from_pb(state.version, state.connection)  # type: ignore[arg-type]
        folder = f"{version.version}-{version.digest.partition(':')[2][:16]}"
        there = self._root.folder(folder)
        target = there if there.is_dir() else self._root.incoming(folder)
        version.checkout(target, durable=True, require_signature=self._keys)
        alias, seq = str(state.alias), state.seq
        loaded = Loaded(folder, version.name, version.resource_name, version.uid, version.digest, alias, seq, now())
        self._root.keep(loaded)
        self._root.switch(loaded)
        with self._changed:  # who sees the version finds the switch counted
            self._memory.switched(loaded)
            self._switches += 1
            self._changed.notify_all()
        log.info("%s: %s is loaded", self._address, loaded.name)
        self._announce(loaded)
        self._tidy()

    def _tidy(self) -> None:
        """Remove what nobody needs, once a process has seen what is wanted, and after each switch."""
        self._is_tidy = True
        try:
            self._root.prune(self._wish.keep)
        except OSError as error:
            self._memory.note("prune", error)
        else:
            self._memory.well("prune")

    def _announce(self, loaded: Loaded) -> None:
        if self._wish.on_change is not None:
            try:
                self._wish.on_change(self)
            except Exception as error:  # noqa: BLE001 - it is theirs; following goes on
                self._memory.note("on_change", error)
            else:
                self._memory.well("on_change")
        self._memory.told(loaded.folder)


def _digest(state: AliasState | None) -> str:
    return state.version.digest if state and state.version else ""
