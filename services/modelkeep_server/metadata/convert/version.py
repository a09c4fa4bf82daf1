"""Versions on the wire."""

from __future__ import annotations

from collections.abc import Iterable

from modelkeep.api.metadata.v1 import metadata_service_pb2 as service_pb
from modelkeep.api.metadata.v1 import version_pb2 as pb
from modelkeep.metadata import decode, encode
from modelkeep.names import MAX_MARKDOWN_BYTES, VersionName, parse_tag, parse_words

from modelkeep_server.metadata.domain.version import Origin, Tombstone, UseSummary, Version, VersionState, Words
from modelkeep_server.runtime.messages import fields_from_pb
from modelkeep_server.runtime.moments import to_timestamp

_STATES = {
    VersionState.COMMITTED: pb.VERSION_STATE_COMMITTED,
    VersionState.DELETED: pb.VERSION_STATE_DELETED,
    VersionState.PURGED: pb.VERSION_STATE_PURGED,
}


def version_to_pb(version: Version) -> pb.Version:
    """A version."""
    return pb.Version(
        name=str(version.name),
        uid=version.uid,
        state=_STATES[version.state],
        digest=str(version.digest),
        type=version.type,
        description=version.description,
        notes=version.notes,
        metadata_json=version.metadata_json,
        tags=version.tags,
        aliases=version.aliases,
        entry_count=version.entry_count,
        stored_bytes=version.stored_bytes,
        referenced_bytes=version.referenced_bytes,
        create_time=to_timestamp(version.create_time),
        update_time=to_timestamp(version.update_time),
        verified_time=to_timestamp(version.verified_time),
        creator=version.creator,
        run=version.run,
        run_display_name=version.run_display_name,
        etag=version.etag,
        tombstone=_tombstone(version.tombstone),
        uses=_uses(version.uses),
        origin=_origin(version.origin),
    )


def words_from_pb(request: service_pb.UpdateVersionRequest) -> tuple[VersionName, Words, str]:
    """The name, the new words and the expected etag of a version.

    Raises InvalidName, InvalidArgument, InvalidMetadata, LimitExceeded.
    """
    fields = fields_from_pb(request.update_mask, ("description", "notes", "metadata_json"))
    version = request.version
    words = Words(
        description=parse_words(version.description, "description", MAX_MARKDOWN_BYTES) if "description" in fields else None,
        notes=parse_words(version.notes, "notes", MAX_MARKDOWN_BYTES) if "notes" in fields else None,
        metadata_json=encode(decode(version.metadata_json)) if "metadata_json" in fields else None,
    )
    return VersionName.parse(version.name), words, version.etag


def tags_from_pb(tags: Iterable[str]) -> tuple[str, ...]:
    """Tags, sorted, each once. Raises InvalidTag."""
    return tuple(sorted({parse_tag(tag) for tag in tags}))


def _tombstone(tombstone: Tombstone | None) -> pb.Tombstone | None:
    if tombstone is None:
        return None
    return pb.Tombstone(
        actor=tombstone.actor,
        reason=tombstone.reason,
        delete_time=to_timestamp(tombstone.delete_time),
        purge_time=to_timestamp(tombstone.purge_time),
    )


def _origin(origin: Origin | None) -> pb.Origin | None:
    return pb.Origin(version=origin.version, version_uid=origin.version_uid) if origin else None


def _uses(uses: UseSummary) -> pb.UseSummary:
    return pb.UseSummary(
        run_count=uses.run_count,
        first_use_time=to_timestamp(uses.first_use_time),
        last_use_time=to_timestamp(uses.last_use_time),
    )
