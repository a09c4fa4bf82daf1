"""What a following node knows: what is loaded, the newest state of the alias that was ever seen, and what goes wrong."""

from __future__ import annotations

import logging
import threading
import time
from dataclasses import asdict
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Final

from modelkeep._follow_root import now
from modelkeep._follow_watch import alias_of
from modelkeep.errors import AliasRolledBack, InvalidArgument, ModelkeepError, NotConfigured, TargetUnusable
from modelkeep.names import LATEST, AliasName

if TYPE_CHECKING:
    from collections.abc import Callable

    from modelkeep._follow_root import FollowRoot, Loaded
    from modelkeep._follow_watch import AliasState
    from modelkeep.config import Config

log = logging.getLogger("modelkeep.follow")

SAVED_EVERY_SECONDS: Final = 60.0
"""How often a heartbeat is written down."""


class Memory:
    """The status of a node; any thread may ask. What matters is on disk before anything follows from it."""

    def __init__(
        self,
        root: FollowRoot,
        address: str,
        config: Callable[[], Config],
        *,
        accept_rollback: bool = False,
        warn_age_seconds: float = 900.0,
    ) -> None:
        """Recall what an earlier process knew. Raises TargetUnusable when the folder is that of another alias."""
        self._root = root
        self._address = address
        self._warn_age_seconds = warn_age_seconds
        self._lock = threading.RLock()
        self.loaded: Loaded | None = root.loaded()
        state = root.state()
        self.alias = _alias(state.get("alias")) or (self.loaded.alias if self.loaded else "")
        self.announced = str(state.get("announced") or "")
        """The folder of the version whose switch was told, to its end."""
        self.errors: dict[str, dict[str, str]] = {}
        self._seen = _seen(state, self.loaded, self.alias)
        self._contact = _moment(state.get("last_contact"))
        self._saved = 0.0
        self._warned = False
        if self.alias:
            self._require_same(config)
        if accept_rollback:
            self._seen = {"seq": 0, "digest": "", "version": ""}

    def _require_same(self, config: Callable[[], Config]) -> None:
        """The server may be away, so what a key would tell is taken from what was remembered."""
        known = AliasName.parse(self.alias)
        try:
            settings = config()
            team, project = settings.team or known.team, settings.project
        except NotConfigured:
            team, project = known.team, known.project
        asked = alias_of(self._address, team, project)
        if asked != known:
            message = f"{self._root.path} holds {known}, and {asked} is asked for; choose another folder"
            raise TargetUnusable(message, path=str(self._root.path), holds=str(known))

    def accept(self, state: AliasState) -> None:
        """Remember a state of the alias. Raises AliasRolledBack when a newer one was seen before (M-SIG-1)."""
        digest = state.version.digest if state.version else ""
        with self._lock:
            seen = self._seen
            other = state.seq == seen["seq"] and digest != seen["digest"] and state.alias.alias != LATEST
            if state.seq < seen["seq"] or other:
                raise _rolled_back(state, seen)
            self.alias = str(state.alias)
            version = state.version.name.rpartition("/")[2] if state.version else ""
            fresh = {"seq": state.seq, "digest": digest, "version": version}
            if fresh != seen:
                self._seen = fresh
                self._save_or_say()

    def heard(self) -> None:
        """The server was heard of."""
        with self._lock:
            self._contact, self._warned = time.time(), False
            self.errors.pop("watch", None)
            if self._contact - self._saved > SAVED_EVERY_SECONDS:
                self.try_save()

    def warn_of_age(self) -> None:
        """Say once that the server was not heard of for too long."""
        with self._lock:
            age = self.age_seconds()
            if self.loaded and not self._warned and age is not None and age > self._warn_age_seconds:
                self._warned = True
                log.warning("%s: the server was not heard of for %.0f s; what is loaded may be old", self._address, age)

    def age_seconds(self) -> float | None:
        """How long ago the server was last heard of; None when it never was."""
        return None if self._contact is None else max(time.time() - self._contact, 0.0)

    def note(self, where: str, error: Exception) -> None:
        """Note what goes wrong; the log tells it once, until it goes well again."""
        reason = str(getattr(error, "reason", "") or type(error).__name__)
        message = error.message if isinstance(error, ModelkeepError) else str(error)
        with self._lock:
            before = self.errors.get(where)
            if before is None or before["reason"] != reason:
                log.warning("%s: %s", self._address, message)
            since = before["since"] if before else now()
            self.errors[where] = {"reason": reason, "message": message, "since": since}
        if before is None:
            self.try_save()

    def well(self, where: str) -> None:
        """Whatever went wrong there does not any more."""
        with self._lock:
            if self.errors.pop(where, None) is not None:
                self.try_save()

    def switched(self, loaded: Loaded) -> None:
        """Another version is loaded."""
        with self._lock:
            self.loaded = loaded
            self._save_or_say()

    def told(self, folder: str) -> None:
        """Whoever wants to know of the switch to that version knows."""
        with self._lock:
            self.announced = folder
            self._save_or_say()

    def status(self) -> dict[str, Any]:
        """Everything, for people and programs."""
        with self._lock:
            age = self.age_seconds()
            return self._state() | {
                "ready": self.loaded is not None,
                "behind": self.loaded is not None and self._seen["digest"] not in {"", self.loaded.digest},
                "age_seconds": None if age is None else round(age, 1),
                "stale": age is None or age > self._warn_age_seconds,
            }

    def save(self) -> None:
        """Write down what the next process has to know. Raises TargetUnusable, DiskFull."""
        with self._lock:
            self._saved = time.time()
            self._root.remember(self._state())

    def _save_or_say(self) -> None:
        """The same where there is no way back; a full disk must not keep a node from going on."""
        try:
            self.save()
        except ModelkeepError as error:
            self.note("state", error)
        else:
            self.well("state")

    def try_save(self) -> None:
        """The same where it is only for people to read; a full disk is told of elsewhere."""
        try:
            self.save()
        except ModelkeepError as error:
            log.warning("%s", error.message)

    def _state(self) -> dict[str, Any]:
        loaded = self.loaded
        path = {"path": str(self._root.folder(loaded.folder)), "version": loaded.version} if loaded else {}
        return {
            "format": 1,
            "address": self._address,
            "alias": self.alias,
            "loaded": asdict(loaded) | path if loaded else None,
            "seen": dict(self._seen),
            "last_contact": _text(self._contact),
            "announced": self.announced,
            "errors": dict(self.errors),
        }


def _alias(text: object) -> str:
    """The resource name of an alias, as it was remembered; empty for what is none."""
    try:
        return str(AliasName.parse(str(text)))
    except InvalidArgument:
        return ""


def _seen(state: dict[str, Any], loaded: Loaded | None, alias: str) -> dict[str, Any]:
    """The newest state of the alias that is remembered: by the state file, or by the version itself."""
    seen = state.get("seen")
    if not (isinstance(seen, dict) and isinstance(seen.get("seq"), int)):
        seen = {}
    found = {"seq": seen.get("seq", 0), "digest": str(seen.get("digest", "")), "version": str(seen.get("version", ""))}
    if loaded and loaded.alias == alias and loaded.seq > found["seq"]:
        return {"seq": loaded.seq, "digest": loaded.digest, "version": loaded.version}
    return found


def _rolled_back(state: AliasState, seen: dict[str, Any]) -> AliasRolledBack:
    shown = state.version.name.rpartition("/")[2] if state.version else "nothing"
    message = (
        f"the server says that {state.alias.alias!r} points to {shown} (change {state.seq}), but change {seen['seq']} to "
        f"{seen['version'] or 'nothing'} was seen before: an old state is shown, so what is loaded stays. If the server's "
        "database was restored from a backup, accept it once with --accept-rollback"
    )
    return AliasRolledBack(message, alias=str(state.alias), seq=str(state.seq), seen=str(seen["seq"]))


def _moment(text: object) -> float | None:
    try:
        return datetime.fromisoformat(str(text)).timestamp() if text else None
    except (ValueError, OverflowError):
        return None


def _text(moment: float | None) -> str:
    if moment is None:
        return ""
    return datetime.fromtimestamp(moment, UTC).isoformat(timespec="seconds").replace("+00:00", "Z")
