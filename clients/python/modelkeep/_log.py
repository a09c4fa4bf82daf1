"""Logging a version: upload the content, open a draft, add its entries, commit."""

from __future__ import annotations

import logging
import os
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Final

from modelkeep import _progress
from modelkeep._ahead import Ahead
from modelkeep._artifact import require_artifact
from modelkeep._channel import retrying
from modelkeep._entries import requests
from modelkeep._rule import Comparison, condition
from modelkeep._upload import Upload
from modelkeep._version import Version
from modelkeep._wire import require_text
from modelkeep.api.metadata.v1 import metadata_service_pb2 as pb
from modelkeep.errors import (
    ChunksMissing,
    CollectionNotFound,
    CollectionTypeMismatch,
    InternalError,
    InvalidArgument,
    ModelkeepError,
    ProjectNotFound,
)
from modelkeep.names import LATEST, CollectionName, TeamName, parse_alias, parse_tag, shown

if TYPE_CHECKING:
    from array import array
    from collections.abc import Callable

    from modelkeep._artifact import Artifact
    from modelkeep._channel import Connection
    from modelkeep._entries import Spool
    from modelkeep.names import ProjectName, RunName

COMMIT_SECONDS: Final = 300.0
"""The deadline of a commit with all its tries."""
ENTRIES_SECONDS: Final = 1800.0
"""The deadline for sending a manifest, which may have millions of entries, with all its tries."""
COMMIT_TIMES: Final = 4
"""How often a commit is tried when the server says that it lacks chunks."""

_log: Final = logging.getLogger("modelkeep")


@dataclass(frozen=True, slots=True)
class Words:
    """What is said about a version when it is logged; checked before anything is uploaded."""

    aliases: tuple[str, ...]
    tags: tuple[str, ...]
    description: str
    notes: str
    metadata_json: str
    run: RunName | None = None
    run_display_name: str = ""
    only_if_better: tuple[str, str] | None = None
    """By which number it has to be better than every version."""

    @classmethod
    def of(
        cls,
        artifact: Artifact,
        aliases: Iterable[str] = (),
        tags: Iterable[str] = (),
        run: RunName | None = None,
        run_display_name: str = "",
        *,
        only_if_better: tuple[str, str] | None = None,
    ) -> Words:
        """Take them as they are now. Raises InvalidAlias, InvalidTag, InvalidMetadata, InvalidArgument."""
        require_artifact(artifact)
        condition(only_if_better)
        require_text(description=artifact.description, notes=artifact.notes)
        return cls(
            parse_aliases(aliases),
            parse_tags(tags),
            artifact.description,
            artifact.notes,
            artifact.metadata_json(),
            run,
            run_display_name,
            only_if_better,
        )


def parse_aliases(aliases: Iterable[str]) -> tuple[str, ...]:
    """Aliases to give; `latest` moves by itself. Raises InvalidAlias."""
    return tuple(parse_alias(alias) for alias in _several(aliases) if alias != LATEST)


def parse_tags(tags: Iterable[str]) -> tuple[str, ...]:
    """Tags to give. Raises InvalidTag."""
    return tuple(parse_tag(tag) for tag in _several(tags))


def _several(texts: Iterable[str]) -> Iterable[str]:
    if not isinstance(texts, Iterable):
        raise InvalidArgument(f"{shown(texts)} is given for several texts; expected a list of them, or one", field="texts")
    return [texts] if isinstance(texts, str) else texts


def log_artifact(
    connection: Connection,
    project: ProjectName,
    artifact: Artifact,
    words: Words,
    stamps: array[int] | None = None,
    *,
    draft: str = "",
    accept: Callable[[Spool], None] | None = None,
) -> Version:
    """Make a version of an artifact; content that is there already answers with its version, what is not better with the best.

    `stamps` says what the files must still be. `draft` is an open draft to commit, else a new one is opened; it stays as it is
    when something fails. `accept` sees the entries before they are committed, and may raise.
    Raises FileUnreadable, FileChanged, CollectionTypeMismatch, …
    """
    artifact.seal()
    collection = CollectionName(project.team, project.project, artifact.name)
    _check_type(connection, collection, artifact.type)
    total = sum(os.path.getsize(source.path) for source in artifact.sources()) if _progress.wanted() else None
    label = "" if artifact.is_silent else f"{artifact.name} ↑"
    with (
        _progress.bar(label, total) as advance,
        Upload(connection, TeamName(project.team), advance) as upload,
        Ahead(connection, lambda: open_draft(connection, collection, artifact.type)) as ahead,
    ):
        if not draft and accept is None:
            upload.noted = ahead.noted
        upload.send(artifact.sources(), stamps)
        if accept is not None:
            accept(upload.entries)
        filled = ahead.finish(upload.entries)
        answer = _commit(connection, collection, artifact, words, upload, given=draft, filled=filled)
        version = committed(answer, connection, sent_bytes=upload.sent_bytes)
    if version.ignored_fields and not draft:
        ignored = ", ".join(version.ignored_fields)
        _log.warning("%s had this content already; not applied to it: %s", version.name, ignored)
    return version


def _check_type(connection: Connection, collection: CollectionName, type_: str) -> None:
    """Say that a name has another type before everything is uploaded in vain (SEM-2)."""
    try:
        existing = connection.metadata.GetCollection(pb.GetCollectionRequest(name=str(collection))).type
    except (CollectionNotFound, ProjectNotFound):
        return
    if existing != type_:
        message = f"{collection.collection!r} has the type {existing!r}, not {type_!r}; log it as that, or choose another name"
        raise CollectionTypeMismatch(message, collection=collection.collection, type=existing)


def _commit(
    connection: Connection,
    collection: CollectionName,
    artifact: Artifact,
    words: Words,
    upload: Upload,
    *,
    given: str,
    filled: str,
) -> pb.CommitDraftResponse:
    """Commit a draft that is given, or one that is filled already, or a new one."""
    draft = given or filled or open_draft(connection, collection, artifact.type)
    try:
        if not filled:
            add_entries(connection, draft, upload)
        return _commit_draft(partial(connection.metadata.CommitDraft, commit_request(draft, words)), artifact, upload)
    except BaseException:
        if not given:
            with suppress(ModelkeepError):  # it ends by itself too
                connection.metadata.AbortDraft(pb.AbortDraftRequest(name=draft), timeout=5)
        raise


def open_draft(connection: Connection, collection: CollectionName, type_: str) -> str:
    """The name of a new draft of a version of a collection."""
    name: str = connection.metadata.CreateDraft(draft_request(collection, type_)).name
    return name


def draft_request(collection: CollectionName, type_: str) -> pb.CreateDraftRequest:
    """What opens a draft of a version of a collection."""
    request = pb.CreateDraftRequest(parent=str(collection.parent))
    request.draft.collection, request.draft.type = str(collection), type_
    return request


def add_entries(connection: Connection, draft: str, upload: Upload, *, overwrite: bool = False) -> None:
    """Send the entries. The same ones may come again, so a broken stream is simply repeated."""
    limits = connection.metadata_limits()

    def attempt(seconds: float, request_id: str) -> pb.AddEntriesResponse:
        stream = requests(upload.entries, draft, limits, overwrite=overwrite)
        response: pb.AddEntriesResponse = connection.attempt("metadata", "AddEntries", stream, seconds, request_id)
        return response

    taken, sent = retrying(connection, "metadata", attempt, ENTRIES_SECONDS).entry_count, upload.entries.entry_count
    if taken != sent:
        message = f"the server took {taken} of {sent} entries, so nothing was committed; log it again"
        raise InternalError(message, taken=taken, sent=sent)


def _commit_draft(commit: partial[pb.CommitDraftResponse], artifact: Artifact, upload: Upload) -> pb.CommitDraftResponse:
    for _ in range(COMMIT_TIMES - 1):
        try:
            return commit(timeout=COMMIT_SECONDS)
        except ChunksMissing:
            upload.send_missing(artifact)
    return commit(timeout=COMMIT_SECONDS)


def committed(answer: pb.CommitDraftResponse, connection: Connection, *, sent_bytes: int = 0) -> Version:
    """The version of the answer to a commit, and what that says of it, in the words of the SDK."""
    return Version.from_pb(
        answer.version,
        connection,
        deduplicated=answer.deduplicated,
        ignored_fields=tuple(name.removesuffix("_json") for name in answer.ignored_fields),
        sent_bytes=sent_bytes,
        comparison=Comparison.from_pb(answer.comparison) if answer.HasField("comparison") else None,
    )


def commit_request(draft: str, words: Words) -> pb.CommitDraftRequest:
    """What makes a draft a version."""
    return pb.CommitDraftRequest(
        name=draft,
        aliases=words.aliases,
        tags=words.tags,
        description=words.description,
        notes=words.notes,
        metadata_json=words.metadata_json,
        run=str(words.run) if words.run else "",
        run_display_name=words.run_display_name,
        only_if_better=condition(words.only_if_better),
    )
