"""Files and folders of a version."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from modelkeep._entries import entry_of

if TYPE_CHECKING:
    from modelkeep.api.metadata.v1 import entry_pb2
    from modelkeep.api.metadata.v1 import metadata_service_pb2 as pb


@dataclass(frozen=True, slots=True)
class File:
    """A file of a version."""

    path: str
    size_bytes: int | None
    """None for a reference whose size is not known."""
    digest: str
    executable: bool
    uri: str
    """Where the content is kept, when it is a reference; else empty."""


@dataclass(frozen=True, slots=True)
class Folder:
    """A folder of a version."""

    path: str


def file_of(message: entry_pb2.Entry) -> File:
    """Read a message."""
    entry = entry_of(message)
    uri = entry.reference.uri if entry.reference else ""
    return File(entry.path, entry.size_bytes, str(entry.digest), entry.executable, uri)


def contents(page: pb.ListEntriesResponse) -> list[File | Folder]:
    """The files and folders of a page, in one order."""
    items: list[File | Folder] = [*map(file_of, page.entries), *map(Folder, page.folders)]
    # A folder stands where the paths under it do.
    return sorted(items, key=lambda item: (item.path + "/" if isinstance(item, Folder) else item.path).encode())
