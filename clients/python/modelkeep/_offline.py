"""Runs without a server: what they log and use is recorded to disk, and `modelkeep sync` replays it."""

from __future__ import annotations

import json
import logging
import os
import secrets
import shutil
import threading
from concurrent.futures import Future
from contextlib import ExitStack
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib.metadata import version as installed_version
from typing import TYPE_CHECKING, Any, Final, NoReturn, Self, cast

from modelkeep._batch import Limits
from modelkeep._copy import sync_folder
from modelkeep._ledger import Begun, require_small
from modelkeep._offline_cached import known_version
from modelkeep._offline_find import ALIVE, FORMAT, find
from modelkeep._offline_journal import Journal, cannot_record
from modelkeep._offline_ledger import OfflineLedger, as_json
from modelkeep._offline_store import Snapshots
from modelkeep._offline_version import JOURNAL, UNKNOWN_TEAM, OfflineConnection, OfflineVersion, needs_server
from modelkeep._offline_words import require_few, require_number, require_words
from modelkeep._run import PendingVersion, Run
from modelkeep.address import Address, format_moment
from modelkeep.errors import CollectionTypeMismatch
from modelkeep.names import RunName

if TYPE_CHECKING:
    from collections.abc import Iterable

    from modelkeep._artifact import Artifact
    from modelkeep._channel import Connection
    from modelkeep._log import Words
    from modelkeep._offline_journal import Record
    from modelkeep._redact import Redactor
    from modelkeep._version import Version
    from modelkeep.api.lineage.v1 import run_pb2

_log: Final = logging.getLogger("modelkeep")


def begin_offline(
    above: str,
    place: tuple[str, str],
    message: run_pb2.Run,
    *,
    run_id: str,
    resume: str,
    given: Iterable[str],
    config: dict[str, Any],
    redactor: Redactor,
) -> OfflineRun:
    """Begin a run in a folder of its own under `above`. Raises LimitExceeded, InvalidArgument, TargetUnusable, DiskFull.

    `given` says which of name, group and notes the user chose: they change a run that is there already.
    """
    require_words(name=message.display_name, group=message.group, notes=message.notes)
    require_few(tags=message.tags)
    require_small("config", len(message.config_json.encode()), Limits.max_json_bytes)
    above = os.path.abspath(above)
    team, project = place
    now = datetime.now(UTC)
    name = RunName(team or UNKNOWN_TEAM, project, run_id or secrets.token_hex(8))
    folder = os.path.join(above, f"{now:%Y%m%dT%H%M%SZ}-{name.run}" + (f"-{secrets.token_hex(3)}" if run_id else ""))
    about = {"time": format_moment(now), "resume": resume if run_id else "", "given": list(given)}
    recording = Recording.begin(folder, _head(name, team, message) | about)
    _log.info("offline: recording to %s", folder)
    return OfflineRun(recording, name, Begun(message, resumed=False), config=config, redactor=redactor)


def _head(name: RunName, team: str, message: run_pb2.Run) -> dict[str, Any]:
    """What the first record says of a run."""
    return {
        "format": FORMAT,
        "run": name.run,
        "name": message.display_name,
        "job_type": message.job_type,
        "team": team,
        "project": name.project,
        "config": json.loads(message.config_json),
        "group": message.group,
        "tags": list(message.tags),
        "notes": message.notes,
        "source": as_json(message.source),
        "environment": as_json(message.environment),
        "modelkeep": installed_version("modelkeep"),
    }


@dataclass(frozen=True)
class Recording:
    """A folder that a run records into."""

    folder: str
    alive: int
    """The descriptor of a file that is locked as long as the run lives."""
    journal: Journal
    head: Record

    @classmethod
    def begin(cls, folder: str, about: dict[str, Any]) -> Self:
        """Make a folder, and record what the run is. When that fails, no folder is left."""
        with ExitStack() as undo:
            try:
                os.makedirs(folder)
                undo.callback(shutil.rmtree, folder, ignore_errors=True)
                alive = _hold(os.path.join(folder, ALIVE))
                undo.callback(os.close, alive)
            except OSError as error:
                raise cannot_record(folder, error) from None
            journal = Journal(os.path.join(folder, JOURNAL))
            head = journal.append("run", **about)
            _make_durable(folder, os.path.dirname(folder))
            undo.pop_all()
        return cls(folder, alive, journal, head)


class OfflineRun(Run):
    """A run that records to disk. Its team may be empty: then it will be that of the key that syncs."""

    def __init__(
        self, recording: Recording, name: RunName, begun: Begun, *, config: dict[str, Any], redactor: Redactor
    ) -> None:
        """Use `modelkeep.init(mode="offline")`."""
        self.folder = recording.folder
        """Where it records."""
        self._above = os.path.dirname(self.folder)
        self._alive: int | None = recording.alive
        self._types: dict[str, str] = {}
        self._snapshots = Snapshots(self.folder)
        self._journal = recording.journal
        self._head = recording.head
        connection = cast("Connection", OfflineConnection(name.team, name.project))
        super().__init__(connection, name, OfflineLedger(self._journal), begun, config=config, redactor=redactor)

    @property
    def team(self) -> str:
        """The team; empty when nobody said which."""
        team = super().team
        return "" if team == UNKNOWN_TEAM else team

    def forget(self) -> None:
        """Begin anew in a forked child."""
        super().forget()
        self._recording = threading.Lock()

    def _end(self, state: str) -> None:
        super()._end(state)
        with self._ending:
            alive, self._alive = self._alive, None  # once: by the next time the number may be that of somebody else's file
        if alive is not None and os.getpid() == self._owner:
            os.close(alive)

    def _edit_tags(self, add: tuple[str, ...], remove: tuple[str, ...]) -> None:
        require_few(tags={*self._tags, *add}.difference(remove))
        super()._edit_tags(add, remove)

    def _log_now(self, artifact: Artifact, words: Words) -> Version:
        require_words(description=words.description, notes=words.notes)
        require_few(aliases=words.aliases, tags=words.tags)
        require_number(words.metadata_json, words.only_if_better)
        with self._recording:
            known = self._types.setdefault(artifact.name, artifact.type)
            if known != artifact.type:
                message = (
                    f"{artifact.name!r} has the type {known!r}, not {artifact.type!r}; log it as that, or choose another name"
                )
                raise CollectionTypeMismatch(message, collection=artifact.name, type=known)
            taken = self._snapshots.take(artifact.sources())
            record = self._journal.append(
                "log",
                time=_now(),
                collection=artifact.name,
                type=artifact.type,
                digest=str(taken.digest),
                entry_count=taken.entry_count,
                size_bytes=taken.size_bytes,
                aliases=list(words.aliases),
                tags=list(words.tags),
                description=words.description,
                notes=words.notes,
                metadata=json.loads(words.metadata_json),
                only_if_better=words.only_if_better,
                produced=words.run is not None,
            )
        return OfflineVersion.of(self.folder, self._head, record)

    def _log_later(self, artifact: Artifact, words: Words) -> PendingVersion:
        """Recorded at once: what is in the files now is what was logged."""
        done: Future[Version] = Future()
        done.set_result(self._log_now(artifact, words))
        return PendingVersion(done)

    def upsert_artifact(self, artifact: Artifact, *, distributed_id: str) -> NoReturn:
        """Not possible: the runs that build one version meet at a server."""
        raise needs_server(f"building {artifact.name!r} in several runs under the id {distributed_id[:100]!r}")

    def finish_artifact(
        self,
        artifact: Artifact | str,
        *,
        distributed_id: str,
        aliases: Iterable[str] = (),
        tags: Iterable[str] = (),
        only_if_better: tuple[str, str] | None = None,
    ) -> NoReturn:
        """Not possible: see `upsert_artifact`."""
        del artifact, aliases, tags, only_if_better
        raise needs_server(f"finishing what several runs built under the id {distributed_id[:100]!r}")

    def _find(self, address: str) -> Version:
        parsed = Address.parse(address, self._project.team, self._project.project)
        recorded = find(parsed, self._above, self.folder)
        if recorded is not None and recorded.folder == self.folder:
            return recorded
        return known_version(parsed, address, recorded)

    def _note_use(self, version: Version, alias_text: str) -> None:
        place = None
        if isinstance(version, OfflineVersion) and version.is_conditional:
            place = os.path.basename(version.folder), version.record
        self._journal.append(
            "use",
            time=_now(),
            team=version.team,
            project=version.project,
            collection=version.collection,
            number=version.number,
            digest=version.digest,
            alias_text=alias_text,
            conditional=place,
        )


def _hold(path: str) -> int:
    """Make a file that is locked until the descriptor is closed, also by the end of the process.

    It gets its name when it is locked: one that is there and is free was of a process that is gone.
    """
    import fcntl  # noqa: PLC0415 - not on every platform

    new = f"{path}.new"
    descriptor = os.open(new, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o666)
    fcntl.flock(descriptor, fcntl.LOCK_SH)
    os.rename(new, path)
    return descriptor


def _make_durable(*folders: str) -> None:
    """Make the names in some folders durable. Raises DiskFull, TargetUnusable."""
    for folder in folders:
        try:
            sync_folder(folder)
        except OSError as error:
            raise cannot_record(folder, error) from None


def _now() -> str:
    return format_moment(datetime.now(UTC))
