"""Runs without a server: what they log and use is recorded to disk, and `modelkeep sync` replays it."""

from __future__ import annotations

import json
import logging
import os
import threading
from concurrent.futures import Future
from datetime import UTC, datetime
from importlib.metadata import version as installed_version
from typing import TYPE_CHECKING, Any, Final, NoReturn, cast

from modelkeep._log import Words
from modelkeep._offline_cached import known_version
from modelkeep._offline_find import FORMAT, find
from modelkeep._offline_journal import Journal, cannot_record
from modelkeep._offline_store import Snapshots
from modelkeep._offline_version import JOURNAL, UNKNOWN_TEAM, OfflineConnection, OfflineVersion, needs_server
from modelkeep._run import PendingVersion, Run
from modelkeep.address import Address, format_moment
from modelkeep.errors import CollectionTypeMismatch, InvalidArgument
from modelkeep.names import ProjectName

if TYPE_CHECKING:
    from collections.abc import Iterable

    from modelkeep._artifact import Artifact
    from modelkeep._channel import Connection
    from modelkeep._version import Version

_log: Final = logging.getLogger("modelkeep")

ALIVE: Final = "alive.lock"
"""Locked as long as the run's process, or a child that it forked, lives."""


class OfflineRun(Run):
    """A run that records to disk. Its team may be empty: then it will be that of the key that syncs."""

    def __init__(
        self, above: str, team: str, project: str, *, display_name: str, job_type: str, config: dict[str, Any]
    ) -> None:
        """Use `modelkeep.init(mode="offline")`. Raises TargetUnusable, DiskFull."""
        parent = ProjectName(team or UNKNOWN_TEAM, project)
        connection = OfflineConnection(parent.team, parent.project)
        super().__init__(cast("Connection", connection), parent, display_name, job_type, config)
        now, recorded = datetime.now(UTC), _as_json(config)
        self._above = os.path.abspath(above)
        self.folder = os.path.join(self._above, f"{now:%Y%m%dT%H%M%SZ}-{self.id}")
        """Where it records."""
        self._types: dict[str, str] = {}
        self._snapshots = Snapshots(self.folder)
        self._journal = Journal(os.path.join(self.folder, JOURNAL))
        try:
            os.makedirs(self.folder)
            self._alive = _hold(os.path.join(self.folder, ALIVE))
        except OSError as error:
            raise cannot_record(self.folder, error) from None
        self._head = self._journal.append(
            "run",
            format=FORMAT,
            time=format_moment(now),
            run=self.id,
            name=display_name,
            job_type=job_type,
            team=team,
            project=project,
            config=recorded,
            modelkeep=installed_version("modelkeep"),
        )
        _make_durable(self.folder, self._above)
        _log.info("offline: recording to %s", self.folder)

    @property
    def team(self) -> str:
        """The team; empty when nobody said which."""
        team = super().team
        return "" if team == UNKNOWN_TEAM else team

    def forget(self) -> None:
        """Begin anew in a forked child."""
        super().forget()
        self._recording = threading.Lock()

    def finish(self) -> None:
        """Note that the run ended."""
        if not self._finished:
            super().finish()
            self._journal.append("finish", time=_now())
            os.close(self._alive)

    def _log_now(self, artifact: Artifact, words: Words) -> Version:
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
        self, artifact: Artifact | str, *, distributed_id: str, aliases: Iterable[str] = (), tags: Iterable[str] = ()
    ) -> NoReturn:
        """Not possible: see `upsert_artifact`."""
        del artifact, aliases, tags
        raise needs_server(f"finishing what several runs built under the id {distributed_id[:100]!r}")

    def _find(self, address: str) -> Version:
        parsed = Address.parse(address, self._project.team, self._project.project)
        recorded = find(parsed, self._above, self.folder)
        if recorded is not None and recorded.folder == self.folder:
            return recorded
        return known_version(parsed, address, recorded)

    def _note_use(self, version: Version, alias_text: str) -> None:
        self._journal.append(
            "use",
            time=_now(),
            team=version.team,
            project=version.project,
            collection=version.collection,
            number=version.number,
            digest=version.digest,
            alias_text=alias_text,
        )


def _hold(path: str) -> int:
    """Lock a file until the descriptor is closed, also by the end of the process."""
    import fcntl  # noqa: PLC0415 - not on every platform

    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o666)
    fcntl.flock(descriptor, fcntl.LOCK_SH)
    return descriptor


def _as_json(config: dict[str, Any]) -> Any:
    """What of a config is recorded: what JSON cannot hold, as text. Raises InvalidArgument."""
    try:
        return json.loads(json.dumps(config, default=str))
    except (TypeError, ValueError, RecursionError) as error:
        raise InvalidArgument(f"the config cannot be recorded: {error}", field="config") from None


def _make_durable(*folders: str) -> None:
    """Make the names in some folders durable. Raises DiskFull, TargetUnusable."""
    for folder in folders:
        try:
            descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
            try:
                os.fsync(descriptor)
            finally:
                os.close(descriptor)
        except OSError as error:
            raise cannot_record(folder, error) from None


def _now() -> str:
    return format_moment(datetime.now(UTC))
