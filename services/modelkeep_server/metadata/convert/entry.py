"""Entries on the wire."""

from __future__ import annotations

from collections.abc import Sequence

from modelkeep.api.blob.v1.digest_pb2 import Digest as DigestMessage
from modelkeep.api.metadata.v1 import entry_pb2 as pb
from modelkeep.api.metadata.v1 import metadata_service_pb2 as service_pb
from modelkeep.digest import Digest
from modelkeep.errors import InvalidEntry, InvalidReference
from modelkeep.manifest import ChangeTokenKind, Entry, Reference, Segment

from modelkeep_server.database.paging import Listing
from modelkeep_server.metadata.domain.entry import EntryPart, Folder, Piece, file_line, short_line
from modelkeep_server.metadata.domain.page import (
    FILE_TAIL,
    SEGMENTS_PER_PAGE,
    SIZE_AT,
    Keyed,
    digest_hex,
    split_segments,
    stored_segments,
)
from modelkeep_server.runtime.moments import from_micros, from_timestamp, to_micros, to_timestamp

_KINDS = {
    pb.CHANGE_TOKEN_KIND_ETAG: ChangeTokenKind.ETAG,
    pb.CHANGE_TOKEN_KIND_GENERATION: ChangeTokenKind.GENERATION,
    pb.CHANGE_TOKEN_KIND_LAST_MODIFIED: ChangeTokenKind.LAST_MODIFIED,
}
_NUMBERS = {kind: number for number, kind in _KINDS.items()}


def pieces_from_pb(request: service_pb.AddEntriesRequest) -> list[Piece]:
    """The entries of one message of a stream: as lines, as far as that is simple. Raises what `part_from_pb` raises."""
    return [_short_line(entry) or _line(entry) or part_from_pb(entry) for entry in request.entries]


def pieces_to_pb(pieces: Sequence[Piece]) -> service_pb.StreamEntriesResponse:
    """One message of a stream of entries."""
    response = service_pb.StreamEntriesResponse()
    for piece in pieces:
        if isinstance(piece, EntryPart):
            response.entries.append(part_to_pb(piece))
        else:
            _add_file(response, *piece)
    return response


def _add_file(response: service_pb.StreamEntriesResponse, path: bytes, line: bytes) -> None:
    """Add the file of a line, without an object of ours for each thing in it."""
    _, size, _, executable, *_ = FILE_TAIL.unpack_from(line, len(path) + SIZE_AT)
    entry = response.entries.add(path=path.decode(), size_bytes=size, executable=bool(executable))
    entry.digest.sha256 = bytes.fromhex(digest_hex(path, line).decode())
    for chunk, offset, length in split_segments(stored_segments(line)[0]):
        entry.segments.add(offset=offset, length=length).chunk.sha256 = chunk


def contents_to_pb(listing: Listing[Entry | Folder]) -> service_pb.ListEntriesResponse:
    """A page of entries, and of folders."""
    response = service_pb.ListEntriesResponse(next_page_token=listing.next_token)
    for item in listing.items:
        if isinstance(item, Folder):
            response.folders.append(item.path)
        else:
            response.entries.append(entry_to_pb(item))
    return response


def part_from_pb(entry: pb.Entry) -> EntryPart:
    """An entry in a stream; without a digest, the further segments of the one before it.

    Raises InvalidArgument, InvalidEntry, InvalidReference; whether all of it fits together is checked when it is complete.
    """
    segments = tuple(_segment(segment) for segment in entry.segments)
    if not entry.HasField("digest"):
        return EntryPart(entry.path, None, segments, entry.continued)
    size = None if entry.size_bytes == -1 else entry.size_bytes
    reference = _reference(entry.reference) if entry.HasField("reference") else None
    head = Entry(entry.path, _digest(entry.digest), size, entry.executable, reference=reference)
    return EntryPart(entry.path, head, segments, entry.continued)


def part_to_pb(part: EntryPart) -> pb.Entry:
    """An entry in a stream, or the further segments of one."""
    message = pb.Entry(path=part.path) if part.entry is None else entry_to_pb(part.entry)
    message.continued = part.continued
    for segment in part.segments:
        chunk = DigestMessage(sha256=segment.chunk.sha256)
        message.segments.append(pb.Segment(chunk=chunk, offset=segment.offset, length=segment.length))
    return message


def entry_to_pb(entry: Entry) -> pb.Entry:
    """An entry, without its segments."""
    return pb.Entry(
        path=entry.path,
        digest=DigestMessage(sha256=entry.digest.sha256),
        size_bytes=-1 if entry.size_bytes is None else entry.size_bytes,
        executable=entry.executable,
        reference=_reference_to_pb(entry.reference),
    )


def _short_line(entry: pb.Entry) -> Keyed | None:
    """The line of an entry that is a whole file of one segment and all right; else None."""
    segments = entry.segments
    if len(segments) != 1 or entry.continued or entry.HasField("reference"):
        return None
    (segment,) = segments
    chunk, offset, length = segment.chunk.sha256, segment.offset, segment.length
    return short_line(entry.path, entry.digest.sha256, entry.size_bytes, entry.executable, chunk, offset, length)


def _line(entry: pb.Entry) -> Keyed | None:
    """The line of an entry that is a whole file and all right; else None."""
    if entry.continued or len(entry.segments) > SEGMENTS_PER_PAGE or entry.HasField("reference"):
        return None
    segments = [(segment.chunk.sha256, segment.offset, segment.length) for segment in entry.segments]
    return file_line(entry.path, entry.digest.sha256, entry.size_bytes, entry.executable, segments)


def _digest(digest: DigestMessage) -> Digest:
    if digest.WhichOneof("value") is None:
        raise InvalidEntry("a digest is empty, or of an algorithm that this server does not know; send its SHA-256")
    return Digest(digest.sha256)


def _segment(segment: pb.Segment) -> Segment:
    return Segment(_digest(segment.chunk), segment.offset, segment.length)


def _reference(reference: pb.Reference) -> Reference:
    kind = None
    if reference.change_token_kind:
        kind = _KINDS.get(reference.change_token_kind)
        if kind is None:
            raise InvalidReference("a reference has a kind of change token that this server does not know")
    checked = 0
    if reference.HasField("checked_time"):
        checked = to_micros(from_timestamp(reference.checked_time, "checked_time"))
    return Reference(reference.uri, reference.object_version, reference.change_token, kind, checked)


def _reference_to_pb(reference: Reference | None) -> pb.Reference | None:
    if reference is None:
        return None
    kind = reference.change_token_kind
    return pb.Reference(
        uri=reference.uri,
        object_version=reference.object_version,
        change_token=reference.change_token,
        change_token_kind=_NUMBERS[kind] if kind else pb.CHANGE_TOKEN_KIND_UNSPECIFIED,
        checked_time=to_timestamp(from_micros(reference.checked_micros)) if reference.checked_micros else None,
    )
