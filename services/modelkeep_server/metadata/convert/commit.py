"""Commits on the wire."""

from __future__ import annotations

from collections.abc import Iterable

from modelkeep.api.metadata.v1 import metadata_service_pb2 as pb
from modelkeep.metadata import decode, encode
from modelkeep.names import LATEST, MAX_MARKDOWN_BYTES, CollectionName, RunName, VersionName, parse_alias, parse_words

from modelkeep_server.metadata.convert.rule import comparison_to_pb, yardstick_from_pb
from modelkeep_server.metadata.convert.version import tags_from_pb, version_to_pb
from modelkeep_server.metadata.domain.draft import Commit, Committed


def commit_from_pb(request: pb.CommitDraftRequest) -> Commit:
    """The body of a commit.

    Raises InvalidAlias, InvalidTag, InvalidMetadata, InvalidArgument, InvalidFilter, InvalidName, LimitExceeded.
    """
    return Commit(
        aliases=_aliases(request.aliases),
        tags=tags_from_pb(request.tags),
        description=parse_words(request.description, "description", MAX_MARKDOWN_BYTES),
        notes=parse_words(request.notes, "notes", MAX_MARKDOWN_BYTES),
        metadata_json=encode(decode(request.metadata_json)),
        run=RunName.parse(request.run) if request.run else None,
        run_display_name=parse_words(request.run_display_name, "run_display_name"),
        only_if_better=yardstick_from_pb(request.only_if_better) if request.HasField("only_if_better") else None,
    )


def committed_to_pb(committed: Committed) -> pb.CommitDraftResponse:
    """The answer to a commit."""
    return pb.CommitDraftResponse(
        version=version_to_pb(committed.version),
        deduplicated=committed.deduplicated,
        ignored_fields=committed.ignored_fields,
        comparison=comparison_to_pb(committed.comparison),
    )


def copy_from_pb(request: pb.CopyVersionRequest) -> tuple[CollectionName, VersionName, tuple[str, ...], tuple[str, ...]]:
    """Where a copy goes, of what, and its aliases and tags. Raises InvalidName, InvalidAlias, InvalidTag."""
    names = CollectionName.parse(request.parent), VersionName.parse(request.source)
    return *names, _aliases(request.aliases), tags_from_pb(request.tags)


def copied_to_pb(copied: Committed) -> pb.CopyVersionResponse:
    """The answer to a copy."""
    return pb.CopyVersionResponse(version=version_to_pb(copied.version), deduplicated=copied.deduplicated)


def _aliases(aliases: Iterable[str]) -> tuple[str, ...]:
    return tuple(sorted({parse_alias(alias) for alias in aliases} - {LATEST}))
