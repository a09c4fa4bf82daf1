"""A run: one execution of code, which uses versions and produces others."""

from __future__ import annotations

import atexit
import logging
import os
import secrets
import threading
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import TYPE_CHECKING, Any, Final, Literal, Self, overload

from modelkeep import config as settings
from modelkeep._artifact import Artifact
from modelkeep._channel import connect
from modelkeep._chunks import stamps_of
from modelkeep._draft import find_shared, open_draft
from modelkeep._fork import gate
from modelkeep._log import Words, log_artifact
from modelkeep._resolve import get_version, resolve
from modelkeep._version import Version
from modelkeep.address import Address
from modelkeep.errors import DraftCommitted, InvalidArgument, PathConflict
from modelkeep.names import CollectionName, RunName, parse_identifier

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from concurrent.futures import Future
    from types import TracebackType

    from modelkeep._channel import Connection
    from modelkeep._draft import Draft
    from modelkeep.names import ProjectName

_log: Final = logging.getLogger("modelkeep")

UPLOADS_AT_ONCE: Final = 2
"""How many artifacts of one run go up in the background at the same time."""
_ADJECTIVES: Final = (
    "amber bold brisk calm clear coral crisp dapper eager early fair fine gentle glad golden keen kind lively lucky mellow"
    " merry mild noble proud quick quiet rapid sunny swift vivid warm witty"
)
_ANIMALS: Final = (
    "badger bear bison crane dingo eagle egret falcon ferret finch fox gecko heron ibex jackal koala lark lemur lynx marten"
    " moose newt otter owl panda puffin raven robin seal stork tapir wren"
)


_uploading: set[Run] = set()
"""Runs that uploaded in the background and are not finished."""


def _finish_forgotten() -> None:
    """At the end of a script that forgot to: nothing that was to be logged is lost, and what failed is shown."""
    for run in list(_uploading):
        try:
            run.finish()
        except Exception:  # noqa: BLE001 - there is nobody to raise it to any more
            _log.exception("the run %s was never finished, and an upload of it failed", run.name)


# atexit comes too late: by then concurrent.futures takes no work any more, which an upload that goes on needs.
getattr(threading, "_register_atexit", atexit.register)(_finish_forgotten)


def init(
    project: str | None = None,
    *,
    team: str | None = None,
    name: str | None = None,
    job_type: str | None = None,
    config: Mapping[str, Any] | None = None,
    url: str | None = None,
    api_key: str | None = None,
    mode: Literal["online", "offline"] | None = None,
    dir: str | os.PathLike[str] | None = None,  # noqa: A002 - the word that users know
) -> Run:
    """Begin a run. Use it as a context manager, or call `finish` at its end.

    `name` is what people call it; without one it gets one that is easy to remember, after `job_type` if that is given.
    `config` stays on the run as `run.config`. What else is not given comes from the environment, from `modelkeep login`, or
    from the server that runs here. The server is asked once, so that a wrong key shows now and not after hours of training.

    With `mode="offline"`, or MODELKEEP_MODE=offline, no server is needed and none is asked: what the run logs and uses is
    recorded in a folder of its own under `dir` (MODELKEEP_OFFLINE_DIR, else ./modelkeep-offline), for `modelkeep sync`.

    Raises NotConfigured, ApiKeyInvalid, ApiKeyExpired, ServiceUnavailable; offline TargetUnusable, DiskFull.
    """
    kind = parse_identifier(job_type, "job type") if job_type is not None else ""
    shown = name or memorable_name(kind)
    if _is_offline(mode):
        from modelkeep._offline import OfflineRun  # noqa: PLC0415 - only runs that need it

        where = os.fspath(dir or settings.offline_dir())
        team, project = settings.place(team or "", project or "")
        return OfflineRun(where, team, project, display_name=shown, job_type=kind, config=dict(config or {}))
    connection = connect(settings.load(url or "", api_key or "", team=team or "", project=project or ""))
    return Run(connection, connection.project, shown, kind, dict(config or {}))


def _is_offline(mode: str | None) -> bool:
    mode = mode or os.environ.get("MODELKEEP_MODE", "") or "online"
    if mode not in {"online", "offline"}:
        message = (
            f"{mode[:100]!r} is no mode of a run; use 'online', or 'offline' to record to disk (MODELKEEP_MODE is one too)"
        )
        raise InvalidArgument(message, field="mode", value=mode[:100])
    return mode == "offline"


class PendingVersion:
    """A version that is being logged in the background."""

    def __init__(self, future: Future[Version]) -> None:
        self._future = future
        self.seen = False
        """Whether somebody asked for the result, and so knows of a failure."""

    def done(self) -> bool:
        """Whether it is logged, or failed."""
        return self._future.done()

    def result(self, timeout_seconds: float | None = None) -> Version:
        """The version; waits for it. Raises what logging raises, and TimeoutError when it is not done in time."""
        try:
            version = self._future.result(timeout_seconds)
        finally:
            self.seen = self._future.done()
        return version


class Run:
    """One execution of code. Any number of threads, and forked children, may log and use through it."""

    def __init__(
        self, connection: Connection, project: ProjectName, display_name: str, job_type: str, config: dict[str, Any]
    ) -> None:
        """Use `modelkeep.init`."""
        self._connection = connection
        self._project = project
        self._run = RunName(project.team, project.project, secrets.token_hex(8))
        self.name = display_name
        self.job_type = job_type
        self.config = config
        self._finished = False
        self._unsent: set[Artifact] = set()
        """What could not be added to a shared draft; `finish_artifact` tries again."""
        self.forget()
        gate.members.add(self)

    def forget(self) -> None:
        """Begin anew in a forked child: what its parent uploads in the background is its parent's business."""
        _uploading.discard(self)
        self._lock = threading.Lock()
        self._uploads: ThreadPoolExecutor | None = None
        self._pending: list[PendingVersion] = []

    def close_channels(self) -> bool:
        """There are none here; they are the connection's."""
        return False

    @property
    def id(self) -> str:
        """Drawn at random; unique without asking anybody."""
        return self._run.run

    @property
    def resource_name(self) -> str:
        """`teams/{team}/projects/{project}/runs/{id}`."""
        return str(self._run)

    @property
    def team(self) -> str:
        """The team."""
        return self._project.team

    @property
    def project(self) -> str:
        """The project."""
        return self._project.project

    def __repr__(self) -> str:
        return f"<Run {self.name!r} {self._run}>"

    @overload
    def log_artifact(
        self,
        artifact: Artifact | str | os.PathLike[str],
        name: str | None = None,
        type: str | None = None,
        *,
        aliases: Iterable[str] = (),
        tags: Iterable[str] = (),
        wait: Literal[True] = True,
    ) -> Version: ...

    @overload
    def log_artifact(
        self,
        artifact: Artifact | str | os.PathLike[str],
        name: str | None = None,
        type: str | None = None,
        *,
        aliases: Iterable[str] = (),
        tags: Iterable[str] = (),
        wait: Literal[False],
    ) -> PendingVersion: ...

    def log_artifact(
        self,
        artifact: Artifact | str | os.PathLike[str],
        name: str | None = None,
        type: str | None = None,  # noqa: A002 - the word that users know
        *,
        aliases: Iterable[str] = (),
        tags: Iterable[str] = (),
        wait: bool = True,
    ) -> Version | PendingVersion:
        """Make a version of an artifact, or of a file or folder with a `name` and a `type`.

        Content that the collection has already makes no new version: `deduplicated` says so, and only the aliases are applied.
        With `wait=False` it goes up in the background, and `finish` raises what fails; files that are written to before they
        were read make it fail.

        Raises FileUnreadable, FileChanged, CollectionTypeMismatch, InvalidAlias, InvalidTag, InvalidMetadata, StorageFull.
        """
        self._require_open()
        artifact = _as_artifact(artifact, name, type)
        artifact.seal()
        words = Words.of(artifact, aliases, tags, self._run, self.name)
        return self._log_now(artifact, words) if wait else self._log_later(artifact, words)

    def _log_now(self, artifact: Artifact, words: Words) -> Version:
        return log_artifact(self._connection, self._project, artifact, words)

    def _log_later(self, artifact: Artifact, words: Words) -> PendingVersion:
        log = partial(log_artifact, self._connection, self._project, artifact, words, stamps_of(artifact.sources()))
        with self._lock:
            if self._uploads is None:
                self._uploads = ThreadPoolExecutor(UPLOADS_AT_ONCE, "modelkeep-log")
                _uploading.add(self)
            pending = PendingVersion(self._uploads.submit(log))
            self._pending.append(pending)
        return pending

    def use_artifact(self, artifact: str | Artifact | Version) -> Version:
        """Find a version by its address, and note that this run uses it. An artifact that is no version yet is logged first.

        Raises as `Api.artifact` does.
        """
        self._require_open()
        alias_text = ""
        if isinstance(artifact, Version):
            version = artifact
        elif isinstance(artifact, Artifact):
            artifact.seal()
            version = self._log_now(artifact, Words.of(artifact))
        else:
            alias_text = artifact
            version = self._find(artifact)
        self._note_use(version, alias_text)
        return version

    def upsert_artifact(self, artifact: Artifact, *, distributed_id: str) -> Draft:
        """Add the files of an artifact to the version that several runs build under one id; `finish_artifact` ends it.

        The same file may come from several runs; other content under the same path is refused. Raises PathConflict (names both
        digests), DraftNotOpen (that version is finished, and named, or its draft was aborted or expired), as `log_artifact`.
        """
        self._require_open()
        artifact.seal()
        collection = CollectionName(self.team, self.project, artifact.name)
        draft = open_draft(self._connection, collection, artifact.type, distributed_id=_shared_id(distributed_id))
        self._add(draft, artifact)
        return draft

    def finish_artifact(
        self,
        artifact: Artifact | str,
        *,
        distributed_id: str,
        aliases: Iterable[str] = (),
        tags: Iterable[str] = (),
    ) -> Version:
        """Make a version of all that was added under an id. From then on nothing can be added to it.

        Give the artifact for its description and metadata, and for its files if they were not added yet, or only its name. Who
        finishes later gets the version that is there. Raises DraftNotFound (nothing was added under that id), DraftNotOpen
        (aborted or expired), and as `log_artifact`.
        """
        self._require_open()
        about = artifact if isinstance(artifact, Artifact) else None
        name = artifact.name if isinstance(artifact, Artifact) else artifact
        collection = CollectionName(self.team, self.project, name)
        draft = find_shared(self._connection, collection, _shared_id(distributed_id))
        words = Words.of(about or Artifact(name, draft.type), aliases, tags, self._run, self.name)
        if about is not None and (not about.is_sealed or about in self._unsent):
            self._add(draft, about)
        try:
            return draft.commit_words(words)
        except DraftCommitted as done:
            return get_version(self._connection, done.metadata["version"])

    def _add(self, draft: Draft, artifact: Artifact) -> None:
        self._unsent.add(artifact)
        try:
            draft.add(artifact)
        except PathConflict:
            self._unsent.discard(artifact)  # as it is, it never fits
            raise
        self._unsent.discard(artifact)

    def _find(self, address: str) -> Version:
        return resolve(self._connection, Address.parse(address, self.team, self.project), address, self._project)

    def _note_use(self, version: Version, alias_text: str) -> None:
        version.record_use(self.resource_name, self.name, alias_text)

    def finish(self) -> None:
        """Wait for what goes up in the background. Raises what failed there; of several failures the first, with notes."""
        _uploading.discard(self)
        with self._lock:
            pending, self._pending = self._pending, []
            uploads, self._uploads = self._uploads, None
            self._finished = True
        failures: list[Exception] = []
        for one in pending:
            seen = one.seen
            try:
                one.result()
            except Exception as error:  # noqa: BLE001 - whatever it was, it is raised below
                if not seen:
                    failures.append(error)
        if uploads is not None:
            uploads.shutdown()
        if failures:
            for other in failures[1:]:
                failures[0].add_note(f"another upload failed too: {other}")
            raise failures[0]

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None) -> None:
        try:
            self.finish()
        except Exception as failed:
            if error is None:
                raise
            error.add_note(f"an upload in the background failed too: {failed}")

    def _require_open(self) -> None:
        if self._finished:
            raise InvalidArgument(f"the run {self.name!r} is finished; begin another one with modelkeep.init()", field="run")


def _as_artifact(
    artifact: Artifact | str | os.PathLike[str],
    name: str | None,
    type: str | None,  # noqa: A002 - as in `log_artifact`
) -> Artifact:
    if isinstance(artifact, Artifact):
        if name is not None or type is not None:
            raise InvalidArgument("an Artifact has its name and type already; give them only with a path", field="name")
        return artifact
    if name is None or type is None:
        message = f"say what {os.fspath(artifact)!r} is: a name for its versions, and a type such as 'model' or 'dataset'"
        raise InvalidArgument(message, field="name" if name is None else "type")
    made = Artifact(name, type)
    (made.add_dir if os.path.isdir(artifact) else made.add_file)(artifact)
    return made


def _shared_id(distributed_id: str) -> str:
    if not distributed_id:
        raise InvalidArgument("a distributed id has at least one character", field="distributed_id")
    return distributed_id


def memorable_name(job_type: str = "") -> str:
    """A display name for a run. Drawn by the operating system: a fork, or a seed, never gives one twice."""
    words = [job_type] if job_type else []
    return "-".join(
        (*words, secrets.choice(_ADJECTIVES.split()), secrets.choice(_ANIMALS.split()), str(secrets.randbelow(900) + 100))
    )
