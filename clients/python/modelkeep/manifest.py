"""A manifest: the sorted entries of a version, and the one form of their bytes that gives the version its digest.

The canonical form is frozen, with golden vectors in `tests/vectors/`:

    manifest := "modelkeep-manifest" 0x00 0x01, entry*          entries in byte order of path
    entry    := field(path) field(digest) field(size) field(executable) field(uri) field(object version) field(change token)
    field    := length as 4 bytes big-endian, bytes

path and uri are UTF-8; digest reads `sha256:<hex>`; size is 8 bytes big-endian, or nothing when a reference does not know it;
executable is one byte, 0 or 1; the last three are empty unless the entry is a reference; a change token reads `<kind>:<token>`.
Chunks are not part of it: layout may change, identity stays (SEM-10).

A segment is 44 bytes wherever it is stored: 32 of the chunk's SHA-256, 4 of offset, 8 of length, big-endian.
"""

from __future__ import annotations

import hashlib
import re
import struct
from dataclasses import dataclass
from enum import StrEnum
from itertools import pairwise
from operator import ge
from typing import TYPE_CHECKING, Final
from urllib.parse import unquote, urlsplit

from modelkeep.digest import EMPTY, Digest
from modelkeep.errors import InvalidEntry, InvalidPath, InvalidReference
from modelkeep.names import shown

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

HEADER: Final = b"modelkeep-manifest\x00\x01"
MAX_PATH_BYTES: Final = 1024
MAX_SEGMENT_BYTES: Final = 255
MAX_URI_BYTES: Final = 4096

_FORBIDDEN = re.compile(r"[\\\x00-\x1f\x7f\ud800-\udfff]")
_PLAIN = re.compile(r"(?:[A-Za-z0-9_-][A-Za-z0-9_.-]{0,254}/)*[A-Za-z0-9_-][A-Za-z0-9_.-]{0,254}")
"""Paths that nothing can be wrong with, but their length: nearly all, and they are seen at once."""
_SEGMENT = struct.Struct(">32sIQ")
_LENGTH = struct.Struct(">I")
_SIZE = struct.Struct(">Q")
_SIGNATURES = re.compile(
    r"(^|&)(x-amz-(signature|credential|security-token)|x-goog-(signature|credential)|sig|signature|awsaccesskeyid|"
    r"access_token|token|api_?key|key|secret|password)=",
    re.IGNORECASE,
)


def parse_path(text: str) -> str:
    """Check the path of an entry, on upload and again before a download writes anything (SEM-7). Raises InvalidPath.

    The rule is an allow-list on the parsed parts; nothing is repaired and nothing is decoded. What a careless reader
    could decode into a way out (`%2e%2e`) is refused too.
    """
    if not isinstance(text, str):
        raise InvalidPath(f"the path of an entry is {shown(text)}; expected text")
    if len(text) <= MAX_PATH_BYTES and _PLAIN.fullmatch(text):
        return text
    why = _fault(text)
    if why:
        raise InvalidPath(f"{shown(text)} is not a path for an entry: {why}", path=text[:200].encode(errors="replace").decode())
    return text


def _fault(text: str) -> str:
    if not text:
        return "it is empty"
    if _FORBIDDEN.search(text):
        return "it has a backslash, a control character, or bytes that are not UTF-8"
    if len(text.encode()) > MAX_PATH_BYTES:
        return f"it is longer than {MAX_PATH_BYTES} bytes"
    if text.startswith("/"):
        return "it is absolute; give it relative to the root of the version"
    parts = text.split("/")
    if re.match(r"[A-Za-z]:", text) or parts[0].endswith(":"):
        return "it begins like a drive or a URL"
    for part in parts:
        if part in {"", ".", ".."}:
            return f"the part {part!r} is not allowed"
        if len(part.encode()) > MAX_SEGMENT_BYTES:
            return f"a part is longer than {MAX_SEGMENT_BYTES} bytes"
        if "%" in part and _decodes_to_a_way_out(part):
            return f"the part {part[:80]!r} decodes to a way out of its folder"
    return ""


def _decodes_to_a_way_out(part: str) -> bool:
    for _ in range(3):
        part = unquote(part)
        if part in {"", ".", ".."} or _FORBIDDEN.search(part) or "/" in part:
            return True
    return False


def parse_uri(text: str) -> str:
    """Check the URI of a reference (SEM-32). Raises InvalidReference.

    The message never repeats the URI, which may hold a secret.
    """
    try:
        parts = urlsplit(text)
    except ValueError:
        raise InvalidReference("the URI of a reference is not well formed") from None
    if not parts.scheme or not (parts.netloc or parts.path) or len(text.encode(errors="replace")) > MAX_URI_BYTES:
        raise InvalidReference(f"a reference needs a URI with a scheme, of at most {MAX_URI_BYTES} bytes")
    if re.search(r"[\x00-\x20\x7f\ud800-\udfff]", text):
        raise InvalidReference("the URI of a reference has white space or control characters; percent-encode them")
    if "@" in parts.netloc or _SIGNATURES.search(parts.query):
        raise InvalidReference("the URI of a reference carries credentials or a signature; give it without them")
    return text


class ChangeTokenKind(StrEnum):
    """What shows that the target of a reference changed (SEM-28)."""

    ETAG = "etag"
    GENERATION = "generation"
    LAST_MODIFIED = "last-modified"


@dataclass(frozen=True, slots=True)
class Segment:
    """`length` bytes of a chunk, from `offset` on, that are the next bytes of a file."""

    chunk: Digest
    offset: int
    length: int


@dataclass(frozen=True, slots=True)
class Reference:
    """Content that is kept elsewhere (SEM-28). An empty change token means: not pinned."""

    uri: str
    object_version: str = ""
    change_token: str = ""
    change_token_kind: ChangeTokenKind | None = None
    checked_micros: int = 0
    """When the target was last looked at, in microseconds since 1970; 0 when never. Not part of the identity."""


@dataclass(frozen=True, slots=True)
class Entry:
    """One path of a version. Check it with `check`."""

    path: str
    digest: Digest
    size_bytes: int | None
    """None only for a reference whose size is not known."""
    executable: bool = False
    segments: tuple[Segment, ...] = ()
    reference: Reference | None = None

    def check(self) -> None:
        """Raise InvalidPath, InvalidEntry or InvalidReference unless digest, size and segments fit together."""
        parse_path(self.path)
        if self.reference is not None:
            _check_reference(self, self.reference)
            return
        size = self.size_bytes
        if size is None or size < 0:
            raise InvalidEntry(f"{self.path!r} has no size", path=self.path)
        if any(s.length < 1 or s.offset < 0 or s.offset + s.length >= 1 << 32 for s in self.segments):
            raise InvalidEntry(f"{self.path!r} has a segment that no chunk can hold", path=self.path)
        total = sum(s.length for s in self.segments)
        if total != size:
            raise InvalidEntry(f"{self.path!r} has {size} bytes but its segments have {total}", path=self.path)
        if size == 0 and self.digest != EMPTY:
            raise InvalidEntry(f"{self.path!r} is empty but its digest is not the digest of nothing", path=self.path)


def _check_reference(entry: Entry, reference: Reference) -> None:
    parse_uri(reference.uri)
    if entry.segments:
        raise InvalidEntry(f"{entry.path!r} is a reference and has segments; it can only be one of the two", path=entry.path)
    if bool(reference.change_token) != (reference.change_token_kind is not None):
        raise InvalidReference(f"the change token of {entry.path!r} and its kind must come together", path=entry.path)
    texts = (reference.object_version, reference.change_token)
    if any(len(text.encode(errors="replace")) > MAX_URI_BYTES for text in texts) or (entry.size_bytes or 0) < 0:
        raise InvalidReference(f"the reference {entry.path!r} has a value that is out of its range", path=entry.path)


def encode_entry(entry: Entry) -> bytes:
    """The canonical bytes of one entry."""
    reference = entry.reference
    kind = reference.change_token_kind if reference else None
    fields = (
        entry.path.encode(),
        str(entry.digest).encode(),
        b"" if entry.size_bytes is None else _SIZE.pack(entry.size_bytes),
        b"\x01" if entry.executable else b"\x00",
        reference.uri.encode() if reference else b"",
        reference.object_version.encode() if reference else b"",
        f"{kind}:{reference.change_token}".encode() if reference and kind else b"",
    )
    return b"".join(part for field in fields for part in (_LENGTH.pack(len(field)), field))


def decode_entry(data: bytes, segments: tuple[Segment, ...] = (), checked_micros: int = 0) -> Entry:
    """The entry that `encode_entry` wrote, with what is not part of its identity given beside it."""
    path, digest, size, executable, uri, object_version, token = split_fields(data)
    kind, _, change_token = token.decode().partition(":")
    reference = None
    if uri:
        pinned = ChangeTokenKind(kind) if kind else None
        reference = Reference(uri.decode(), object_version.decode(), change_token, pinned, checked_micros)
    size_bytes = _SIZE.unpack(size)[0] if size else None
    return Entry(path.decode(), Digest.parse(digest.decode()), size_bytes, executable == b"\x01", segments, reference)


def split_fields(data: bytes) -> Iterator[bytes]:
    """The length-prefixed fields of `data`, one after the other."""
    position = 0
    while position < len(data):
        (length,) = _LENGTH.unpack_from(data, position)
        position += _LENGTH.size + length
        if position > len(data):
            raise ValueError("a field is longer than what holds it")
        yield data[position - length : position]


def join_fields(fields: Iterable[bytes]) -> bytes:
    """The length-prefixed form of `fields`."""
    return b"".join(part for field in fields for part in (_LENGTH.pack(len(field)), field))


def encode_segments(segments: Iterable[Segment]) -> bytes:
    """The stored form of segments: 44 bytes each."""
    return b"".join(_SEGMENT.pack(s.chunk.sha256, s.offset, s.length) for s in segments)


def decode_segments(data: bytes) -> tuple[Segment, ...]:
    """The segments that `encode_segments` wrote."""
    return tuple(Segment(Digest(sha256), offset, length) for sha256, offset, length in _SEGMENT.iter_unpack(data))


class ManifestHasher:
    """Computes a version digest from entries that come in byte order of path. Constant memory."""

    def __init__(self) -> None:
        self._hash = hashlib.sha256(HEADER)
        self._last = b""
        self.entry_count = 0

    def add(self, entry: Entry) -> None:
        """Take the next entry. Raises InvalidPath when it comes twice or out of order."""
        self.add_encoded(entry.path.encode(), encode_entry(entry))

    def add_encoded(self, path: bytes, encoded: bytes) -> None:
        """Take the next entry in its canonical form. Raises InvalidPath when it comes twice or out of order."""
        if self.entry_count and path <= self._last:
            raise InvalidPath(f"{path.decode()!r} comes twice or out of order", path=path.decode())
        self._last = path
        self.entry_count += 1
        self._hash.update(encoded)

    def add_many(self, paths: Sequence[bytes], encoded: Sequence[bytes]) -> None:
        """Take the next entries in their canonical form. Raises InvalidPath when one comes twice or out of order."""
        if not paths:
            return
        if any(map(ge, paths, paths[1:])) or (self.entry_count and paths[0] <= self._last):
            for path, one in zip(paths, encoded, strict=True):
                self.add_encoded(path, one)
        self._last = paths[-1]
        self.entry_count += len(paths)
        self._hash.update(b"".join(encoded))

    def digest(self) -> Digest:
        """The digest of the manifest so far."""
        return Digest(self._hash.digest())


class CollisionCheck:
    """Finds paths that are a file and a folder at once (`a` and `a/b`) among paths in byte order, in constant memory."""

    def __init__(self) -> None:
        self._files: list[bytes] = []

    def add(self, path: str) -> None:
        """Take the next path. Raises InvalidPath, naming both."""
        self.add_encoded(path.encode())

    def add_encoded(self, path: bytes) -> None:
        """Take the next path in UTF-8. Raises InvalidPath, naming both."""
        files = self._files
        # `a`, `a-b`, `a/b` is the byte order, so the files that may still become a folder form a stack of prefixes.
        while files and not path.startswith(files[-1]):
            files.pop()
        for file in files:
            if path.startswith(file + b"/"):
                under, other = path.decode(), file.decode()
                raise InvalidPath(f"{other!r} is a file, so {under!r} cannot lie under it", path=under, other=other)
        files.append(path)

    def add_many(self, paths: Sequence[bytes]) -> None:
        """Take the next paths in UTF-8. Raises InvalidPath, naming both."""
        if not paths:
            return
        self.add_encoded(paths[0])
        if len(self._files) == 1 and not any(map(bytes.startswith, paths[1:], paths)):
            self._files[0] = paths[-1]  # as nearly always: none of them begins as the one before it does
            return
        # A path can lie under a file only if it begins as the one before it does, or if that one did.
        for before, path in pairwise(paths):
            if path.startswith(before) or len(self._files) > 1:
                self.add_encoded(path)
            else:
                self._files[0] = path


def manifest_digest(entries: Iterable[Entry]) -> Digest:
    """The version digest of entries in any order. Raises InvalidPath when two of them collide."""
    hasher, collisions = ManifestHasher(), CollisionCheck()
    for entry in sorted(entries, key=lambda e: e.path.encode()):
        collisions.add(entry.path)
        hasher.add(entry)
    return hasher.digest()
