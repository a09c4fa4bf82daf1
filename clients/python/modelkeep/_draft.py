"""A draft: a version in the making on the server, to which files come and from which they go until it is committed."""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING, Final, Self

from modelkeep import _progress
from modelkeep._artifact import Artifact, require_artifact
from modelkeep._log import COMMIT_SECONDS, COMMIT_TIMES, Words, add_entries, commit_request, committed, draft_request
from modelkeep._resolve import get_version
from modelkeep._upload import Upload
from modelkeep._version import Version
from modelkeep._wire import label, last, moment, pages
from modelkeep.api.metadata.v1 import draft_pb2
from modelkeep.api.metadata.v1 import metadata_service_pb2 as pb
from modelkeep.errors import (
    AliasNotFound,
    ChunksMissing,
    DraftCommitted,
    DraftNotFound,
    InvalidArgument,
    ModelkeepError,
    PathConflict,
)
from modelkeep.metadata import encode
from modelkeep.names import CollectionName, DraftName, ProjectName, TeamName, VersionName

if TYPE_CHECKING:
    import os
    from collections.abc import Callable, Iterable, Iterator, Mapping
    from datetime import datetime
    from types import TracebackType
    from typing import Any

    from modelkeep._channel import Connection

_STATES: Final = {"OPEN", "COMMITTED", "ABORTED", "EXPIRED"}


class Draft:
    """A version in the making. Several processes may fill one draft; use it as a context manager, which aborts it on an error.

        with api.draft("vision/inceptionV3:v3") as draft:
            draft.add_file("model.safetensors", overwrite=True)
            draft.remove("old/")
            version = draft.commit(aliases=["best"])

    Files are read and uploaded by `flush`, or when it is committed; only what the server does not have is sent. A block that
    ends well without a commit leaves the draft open, for `Api.open_draft`.
    """

    def __init__(self, message: draft_pb2.Draft, connection: Connection) -> None:
        """Use `Api.draft`."""
        self._connection = connection
        self._pending: list[tuple[bool, Artifact]] = []
        """What was added and not sent yet, in the order of the calls, and whether it overwrites."""
        self._sent: list[Artifact] = []
        self.sent_bytes = 0
        """How many bytes of it the server did not have so far."""
        self._read(message)

    def _read(self, message: draft_pb2.Draft) -> None:
        self.resource_name = message.name
        self.id = last(message.name)
        self.collection = last(message.collection)
        self.type = message.type
        self.state = label(draft_pb2.DraftState, message.state, "DRAFT_STATE_")
        """`OPEN`, `COMMITTED`, `ABORTED` or `EXPIRED`, when it was last asked for."""
        self.create_time = moment(message.create_time)
        self.expire_time = moment(message.expire_time)
        """When it ends by itself; adding to it moves that forward."""
        self.base = message.base
        """The version that it began with, by its resource name; empty when it began with none."""
        self.distributed_id = message.distributed_id
        self.creator = message.creator
        self.version = last(message.version)
        """`v7`, once it is committed."""

    def __repr__(self) -> str:
        return f"<Draft {self.collection} {self.id} {self.state}>"

    def add_file(self, path: str | os.PathLike[str], name: str | None = None, *, overwrite: bool = False) -> None:
        """Add one file, under its own name or under `name`; in place of the one that is there, with `overwrite`.

        Raises as `Artifact.add_file` does; `flush` raises PathConflict when the draft has other content there.
        """
        self._add(lambda artifact: artifact.add_file(path, name), overwrite=overwrite)

    def add_dir(self, path: str | os.PathLike[str], name: str | None = None, *, overwrite: bool = False) -> None:
        """Add all files under a folder, at the root or under the folder `name`. Raises as `add_file` does."""
        self._add(lambda artifact: artifact.add_dir(path, name), overwrite=overwrite)

    def add(self, artifact: Artifact, *, overwrite: bool = False) -> None:
        """Add the files of an artifact, and send them now. Raises as `flush` does."""
        require_artifact(artifact)
        self.flush()
        self._send(artifact, overwrite=overwrite)

    def remove(self, *paths: str) -> int:
        """Take files out, and folders with all that lies under them: all or none; how many files that were.

        Raises EntryNotFound, naming the first path that is not there; DraftNotOpen, InvalidPath; InvalidArgument for a list.
        """
        if not all(isinstance(path, str) for path in paths):
            raise InvalidArgument("paths are texts, each by itself: draft.remove('a', 'b/')", field="paths")
        self.flush()
        names = [path.rstrip("/") for path in paths]
        removed = self._connection.metadata.RemoveEntries(pb.RemoveEntriesRequest(draft=self.resource_name, paths=names))
        return removed.entry_count

    def flush(self) -> None:
        """Upload what was added so far, and put it into the draft. What could not be sent is tried again by the next call.

        Raises PathConflict (with other content it is there already, and `overwrite` was not said), DraftNotOpen,
        FileUnreadable, FileChanged, InvalidPath.
        """
        for one in list(self._pending):
            overwrite, artifact = one
            try:
                if len(artifact):
                    self._send(artifact, overwrite=overwrite)
            except PathConflict:
                self._pending.remove(one)  # as it is, it never fits
                raise
            self._pending.remove(one)

    def commit(
        self,
        *,
        aliases: Iterable[str] = (),
        tags: Iterable[str] = (),
        description: str = "",
        notes: str = "",
        metadata: Mapping[str, Any] | None = None,
        only_if_better: tuple[str, str] | None = None,
    ) -> Version:
        """Make the draft a version; content that the collection has already answers with its version.

        `only_if_better` as in `Run.log_artifact`: a draft that was not better has ended too, and `version` is the best one.

        The same commit again answers the same. Raises DraftNotOpen (aborted or expired), DraftCommitted (it was committed with
        other words), InvalidPath (a path is a file and a folder), InvalidAlias, InvalidTag, InvalidMetadata.
        """
        about = Artifact(self.collection, self.type, metadata=metadata, description=description, notes=notes)
        return self.commit_words(Words.of(about, aliases, tags, only_if_better=only_if_better))

    def commit_words(self, words: Words) -> Version:
        """As `commit`, with all that is said about the version in one."""
        self.flush()
        answer = self._commit(commit_request(self.resource_name, words))
        version = committed(answer, self._connection, sent_bytes=self.sent_bytes)
        self.state, self.version = "COMMITTED", version.version
        return version

    def commit_shared(self, words: Words) -> Version:
        """As `commit_words`; a version that another run made of it counts too, if it has all that is said now (SEM-14, 42).

        What was to be better than all is not compared: the answer may be the best version, which got none of the words.
        """
        try:
            return self.commit_words(words)
        except DraftCommitted as done:
            version = get_version(self._connection, done.metadata["version"])
            lacks = "" if words.only_if_better else _lacks(self._connection, version, words, self.create_time)
            if lacks:
                message = (
                    f"{version.name} was finished already, without the {lacks} that is given now; edit the version instead"
                )
                raise DraftCommitted(message, **done.metadata) from None
            return version

    def abort(self) -> None:
        """Give the draft up. Raises DraftNotOpen when it is committed."""
        self._pending.clear()
        self._read(self._connection.metadata.AbortDraft(pb.AbortDraftRequest(name=self.resource_name)))

    def refresh(self) -> Self:
        """Ask how the draft stands now."""
        self._read(self._connection.metadata.GetDraft(pb.GetDraftRequest(name=self.resource_name)))
        return self

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None) -> None:
        try:
            if error is None:
                self.flush()
        except BaseException:
            self._give_up()
            raise
        if error is not None:
            self._give_up()

    def _give_up(self) -> None:
        if self.state == "OPEN":
            with suppress(ModelkeepError):  # it ends by itself too
                self.abort()

    def _add(self, add: Callable[[Artifact], None], *, overwrite: bool) -> None:
        """Add to what is sent last, so that calls count in their order, as if each had been sent at once."""
        if self._pending and self._pending[-1][0] == overwrite and not self._pending[-1][1].is_sealed:
            with suppress(PathConflict):  # the same path again: it is sent after the other, and the server compares them
                add(self._pending[-1][1])
                return
        artifact = Artifact(self.collection, self.type)
        add(artifact)
        self._pending.append((overwrite, artifact))

    def _send(self, artifact: Artifact, *, overwrite: bool) -> None:
        artifact.seal()
        with _progress.bar(f"{self.collection} ↑", None) as advance, self._upload(advance) as upload:
            upload.send(artifact.sources())
            add_entries(self._connection, self.resource_name, upload, overwrite=overwrite)
            self.sent_bytes += upload.sent_bytes
        self._sent.append(artifact)

    def _commit(self, request: pb.CommitDraftRequest) -> pb.CommitDraftResponse:
        for _ in range(COMMIT_TIMES - 1):
            try:
                return self._connection.metadata.CommitDraft(request, timeout=COMMIT_SECONDS)
            except ChunksMissing:
                if not self._sent:
                    raise  # somebody else has the files
            with _progress.bar(f"{self.collection} ↑", None) as advance, self._upload(advance) as upload:
                for artifact in self._sent:
                    upload.send(artifact.sources())
                with suppress(ChunksMissing):
                    return self._connection.metadata.CommitDraft(request, timeout=COMMIT_SECONDS)
        return self._connection.metadata.CommitDraft(request, timeout=COMMIT_SECONDS)

    def _upload(self, advance: Callable[[int], None]) -> Upload:
        return Upload(self._connection, TeamName(DraftName.parse(self.resource_name).team), advance)


def open_draft(
    connection: Connection,
    collection: CollectionName,
    type: str = "",  # noqa: A002 - the word that users know
    *,
    base: Version | None = None,
    distributed_id: str = "",
) -> Draft:
    """Open a draft, or find the one of the `distributed_id`; without a type, that of the base or of the collection counts."""
    if not type and base is not None:
        type = base.type  # noqa: A001 - as above
    if not type:
        type = connection.metadata.GetCollection(pb.GetCollectionRequest(name=str(collection))).type  # noqa: A001
    request = draft_request(collection, type)
    request.draft.distributed_id = distributed_id
    if base is not None:
        request.draft.base = base.resource_name
    return Draft(connection.metadata.CreateDraft(request), connection)


def find_shared(connection: Connection, collection: CollectionName, distributed_id: str) -> Draft:
    """The draft that several writers call `distributed_id`. Raises DraftNotFound: nobody opened it yet."""
    for draft in list_drafts(connection, collection.parent, None, distributed_id):
        if draft.collection == collection.collection:
            return draft
    message = (
        f"nothing was added to {collection.collection!r} under the distributed id {distributed_id!r}; upsert_artifact adds"
    )
    raise DraftNotFound(message, collection=str(collection), distributed_id=distributed_id)


def _lacks(connection: Connection, version: Version, words: Words, began: datetime) -> str:
    """What is said of the version of a draft and does not hold; empty when all does."""
    for alias in words.aliases:
        if alias not in version.aliases and not _was_alias(connection, version, alias):
            return f"alias {alias!r}"
    if version.create_time < began:
        return ""  # its content was there already, so that it took none of the words (SEM-11)
    said = {
        "tags": not set(words.tags) <= set(version.tags),
        "description": words.description not in {"", version.description},
        "notes": words.notes not in {"", version.notes},
        "metadata": words.metadata_json not in {"{}", encode(version.metadata)},
    }
    return next((word for word, differs in said.items() if differs), "")


def _was_alias(connection: Connection, version: Version, alias: str) -> bool:
    """Whether an alias ever pointed to a version: since then it may have moved on."""
    request = pb.ListAliasHistoryRequest(parent=str(VersionName.parse(version.resource_name).parent), alias=alias)
    try:
        changes = pages(connection.metadata.ListAliasHistory, request, lambda page: page.changes)
        return any(change.to_version == version.resource_name for change in changes)
    except AliasNotFound:
        return False


def find_draft(connection: Connection, project: ProjectName, name: str) -> Draft:
    """A draft by its id in a project, or by its resource name. Raises DraftNotFound, InvalidName."""
    draft = DraftName.parse(name) if "/" in name else DraftName(project.team, project.project, name)
    return Draft(connection.metadata.GetDraft(pb.GetDraftRequest(name=str(draft))), connection)


def list_drafts(connection: Connection, project: ProjectName, state: str | None, distributed_id: str = "") -> Iterator[Draft]:
    """The drafts of a project, newest first. Raises InvalidArgument, ProjectNotFound."""
    request = pb.ListDraftsRequest(parent=str(project), distributed_id=distributed_id)
    if state is not None:
        if state.upper() not in _STATES:
            message = f"{state!r} is no state of a draft; there are {', '.join(sorted(_STATES)).lower()}"
            raise InvalidArgument(message, field="state", value=state)
        request.state = getattr(draft_pb2, f"DRAFT_STATE_{state.upper()}")
    for message in pages(connection.metadata.ListDrafts, request, lambda page: page.drafts):
        yield Draft(message, connection)
