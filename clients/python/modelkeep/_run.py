"""A run: one execution of code, which uses versions and produces others."""

from __future__ import annotations

import logging
import os
import threading
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import TYPE_CHECKING, Any, Final, Literal, Self, overload

from modelkeep import _run_end
from modelkeep._artifact import Artifact, local_path, require_artifact
from modelkeep._chunks import stamps_of
from modelkeep._draft import find_shared, open_draft
from modelkeep._ledger import parse_state
from modelkeep._log import Words, log_artifact
from modelkeep._resolve import resolve
from modelkeep._run_record import RunRecord
from modelkeep._version import Version
from modelkeep.address import Address
from modelkeep.errors import InvalidArgument, PathConflict
from modelkeep.names import CollectionName, ProjectName

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from concurrent.futures import Future
    from types import TracebackType

    from modelkeep._channel import Connection
    from modelkeep._draft import Draft
    from modelkeep._ledger import Begun, Ledger
    from modelkeep._redact import Redactor
    from modelkeep.names import RunName

_log: Final = logging.getLogger("modelkeep")

UPLOADS_AT_ONCE: Final = 2
"""How many artifacts of one run go up in the background at the same time."""
CODE_SECONDS: Final = 60.0
"""How long the end of a run waits for its code to be kept."""


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

    def failure(self) -> Exception | None:
        """What failed of it, unless somebody was told; waits for it."""
        failed = self._future.exception()
        return None if self.seen or not isinstance(failed, Exception) else failed


class Run(RunRecord):
    """One execution of code. Any number of threads, and forked children, may log and use through it."""

    def __init__(
        self,
        connection: Connection,
        name: RunName,
        ledger: Ledger,
        begun: Begun,
        *,
        config: Mapping[str, Any],
        redactor: Redactor,
    ) -> None:
        """Use `modelkeep.init`."""
        self._connection = connection
        self._project = ProjectName(name.team, name.project)
        self._unsent: set[Artifact] = set()
        """What could not be added to a shared draft; `finish_artifact` tries again."""
        super().__init__(name, ledger, begun, config=config, redactor=redactor)

    def forget(self) -> None:
        """Begin anew in a forked child: what its parent uploads in the background is its parent's business."""
        super().forget()
        self._lock = threading.RLock()  # a signal handler may end the run while the thread that it interrupts has it
        self._uploads: ThreadPoolExecutor | None = None
        self._pending: list[PendingVersion] = []
        self._keeping: threading.Thread | None = None

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
        only_if_better: tuple[str, str] | None = None,
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
        only_if_better: tuple[str, str] | None = None,
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
        only_if_better: tuple[str, str] | None = None,
        wait: bool = True,
    ) -> Version | PendingVersion:
        """Make a version of an artifact, or of a file or folder with a `name` and a `type`.

        Content that the collection has already makes no new version: `deduplicated` says so, and only the aliases are applied.
        With `only_if_better=("acc", "max")` the server makes a version only if that number of the metadata is better than in
        every version; else the best one is the answer, and `comparison` says what was compared.
        With `wait=False` it goes up in the background, and `finish` raises what fails; files that are written to before they
        were read make it fail.

        Raises FileUnreadable, FileChanged, CollectionTypeMismatch, InvalidAlias, InvalidTag, InvalidMetadata, StorageFull.
        """
        self._require_open()
        artifact = _as_artifact(artifact, name, type)
        artifact.seal()
        words = Words.of(artifact, aliases, tags, self._run, self.name, only_if_better=only_if_better)
        return self._log_now(artifact, words) if wait else self._log_later(artifact, words)

    def _log_now(self, artifact: Artifact, words: Words) -> Version:
        return log_artifact(self._connection, self._project, artifact, words)

    def _log_later(self, artifact: Artifact, words: Words) -> PendingVersion:
        log = partial(log_artifact, self._connection, self._project, artifact, words, stamps_of(artifact.sources()))
        with self._lock:
            self._require_open()  # `finish` may have come meanwhile
            uploads = self._uploads or ThreadPoolExecutor(UPLOADS_AT_ONCE, "modelkeep-log")
            self._uploads = None  # it cannot be shut down while it takes this, should a signal handler end the run right here
            _run_end.began(self)
            future = uploads.submit(log)
            self._pending.append(pending := PendingVersion(future))
            self._uploads = uploads
            if self._finished:
                future.cancel()
                self._require_open()
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
        require_artifact(artifact)
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
        only_if_better: tuple[str, str] | None = None,
    ) -> Version:
        """Make a version of all that was added under an id. From then on nothing can be added to it.

        Give the artifact for its description and metadata, and for its files if they were not added yet, or only its name. Who
        finishes later gets the version that is there. Raises DraftNotFound (nothing was added under that id), DraftNotOpen
        (aborted or expired), DraftCommitted (it was finished, without what is said here), and as `log_artifact`.
        """
        self._require_open()
        about = artifact if isinstance(artifact, Artifact) else None
        name = artifact.name if isinstance(artifact, Artifact) else artifact
        collection = CollectionName(self.team, self.project, name)
        draft = find_shared(self._connection, collection, _shared_id(distributed_id))
        said = about or Artifact(name, draft.type)
        words = Words.of(said, aliases, tags, self._run, self.name, only_if_better=only_if_better)
        if about is not None and (not about.is_sealed or about in self._unsent):
            self._add(draft, about)
        return draft.commit_shared(words)

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

    def keep_code(self, items: frozenset[str], script: str) -> None:
        """Find out, in the background, which code runs; keep it as a version that the run uses."""
        self._keeping = threading.Thread(target=self._keep_code, args=(items, script), name="modelkeep-code", daemon=True)
        self._keeping.start()

    def _keep_code(self, items: frozenset[str], script: str) -> None:
        from modelkeep import _code  # noqa: PLC0415

        try:
            code = _code.find_out(items, script, self._redactor)
            if not self.resumed:
                self._tell_code(code)
            artifact = code.artifact()
            if artifact is not None:
                version = self._log_now(artifact, Words.of(artifact))
                self._note_use(version, "")
                if not self.resumed:
                    self._ledger.keep_code(version)
        except Exception as error:  # noqa: BLE001 - a run does not fail for it
            _log.warning("the code of the run %r could not be kept: %s", self.name, error)

    def finish(self, state: Literal["finished", "failed"] = "finished") -> None:
        """End the run, once what it logged is kept and what goes up in the background is there.

        Raises what failed there; of several failures the first, with notes; then the run has failed.
        """
        parse_state(state)
        with self._lock:
            self._finished = True
        # Nothing is forgotten before the end: this may be interrupted anywhere, and called again.
        failures = [failed for one in self._pending if (failed := one.failure()) is not None]
        uploads, self._uploads = self._uploads, None
        if uploads is not None:
            uploads.shutdown()
        self._await_code()
        try:
            self._end("failed" if failures else state)
        except Exception as error:  # noqa: BLE001 - it is raised below
            failures.append(error)
        with self._lock:
            self._pending = []
        _run_end.raise_first(failures)

    def _await_code(self) -> None:
        if self._keeping is not None:
            self._keeping.join(CODE_SECONDS)
            if self._keeping.is_alive():
                _log.warning("the code of the run %r is not kept: it took more than %.0f s", self.name, CODE_SECONDS)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None) -> None:
        try:
            self.finish("finished" if error is None or (isinstance(error, SystemExit) and not error.code) else "failed")
        except Exception as failed:
            if error is None:
                raise
            error.add_note(f"the end of the run failed too: {failed}")


def _as_artifact(
    artifact: Artifact | str | os.PathLike[str],
    name: str | None,
    type: str | None,  # noqa: A002 - as in `log_artifact`
) -> Artifact:
    if isinstance(artifact, Artifact):
        if name is not None or type is not None:
            raise InvalidArgument("an Artifact has its name and type already; give them only with a path", field="name")
        return artifact
    local = local_path(artifact, "artifact", "an Artifact, or the path of a file or folder")
    if name is None or type is None:
        message = f"say what {os.fspath(artifact)!r} is: a name for its versions, and a type such as 'model' or 'dataset'"
        raise InvalidArgument(message, field="name" if name is None else "type")
    made = Artifact(name, type)
    (made.add_dir if os.path.isdir(local) else made.add_file)(local)
    return made


def _shared_id(distributed_id: str) -> str:
    if not distributed_id:
        raise InvalidArgument("a distributed id has at least one character", field="distributed_id")
    return distributed_id
