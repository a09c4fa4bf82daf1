"""SEM-7, 10, 28, 32: entries, their one canonical form, and the paths that may never leave their root."""

import hashlib
import os
from contextlib import nullcontext
from pathlib import Path, PurePosixPath, PureWindowsPath
from urllib.parse import unquote

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from modelkeep import manifest
from modelkeep.digest import EMPTY, Digest
from modelkeep.errors import InvalidEntry, InvalidPath, InvalidReference
from modelkeep.manifest import ChangeTokenKind, Entry, Reference, Segment

from tests.vectors import load

VECTORS = load("manifests.json")
NAMES = load("names.json")


def _entry(vector: dict) -> Entry:
    reference = None
    if "reference" in vector:
        fields = dict(vector["reference"])
        if "change_token_kind" in fields:
            fields["change_token_kind"] = ChangeTokenKind(fields["change_token_kind"])
        reference = Reference(**fields)
    digest = Digest.parse(vector["digest"])
    return Entry(vector["path"], digest, vector["size_bytes"], vector.get("executable", False), reference=reference)


def _segments(vector: dict) -> tuple[Segment, ...]:
    return tuple(Segment(Digest.parse(s["chunk"]), s["offset"], s["length"]) for s in vector["segments"])


@pytest.mark.parametrize("vector", VECTORS["manifests"], ids=lambda v: v["name"])
def test_canonical_form_and_digest_are_the_golden_ones(vector):
    """SEM-10."""
    entries = sorted((_entry(e) for e in vector["entries"]), key=lambda e: e.path.encode())
    canonical = manifest.HEADER + b"".join(map(manifest.encode_entry, entries))
    assert canonical.hex() == vector["canonical_hex"]
    assert str(manifest.manifest_digest(reversed(entries))) == vector["digest"]
    assert f"sha256:{hashlib.sha256(canonical).hexdigest()}" == vector["digest"]
    assert [manifest.decode_entry(manifest.encode_entry(entry)) for entry in entries] == entries


@pytest.mark.parametrize("vector", VECTORS["segments"], ids=lambda v: v["name"])
def test_stored_segments_are_the_golden_ones(vector):
    assert manifest.encode_segments(_segments(vector)).hex() == vector["bytes_hex"]
    assert manifest.decode_segments(bytes.fromhex(vector["bytes_hex"])) == _segments(vector)


@pytest.mark.parametrize("paths", VECTORS["colliding"], ids="+".join)
def test_paths_that_collide_are_refused(paths):
    """SEM-7: a path cannot be a file and a folder, nor come twice."""
    with pytest.raises(InvalidPath):
        manifest.manifest_digest(Entry(path, EMPTY, 0) for path in paths)


@pytest.mark.peer("M-PATH-1")
@pytest.mark.parametrize("path", NAMES["paths"]["valid"], ids=ascii)
def test_paths(path):
    assert manifest.parse_path(path) == path


@pytest.mark.peer("M-PATH-1")
@pytest.mark.parametrize("path", [*NAMES["paths"]["invalid"], "a\ud800", os.fsdecode(b"\xff")], ids=ascii)
def test_what_is_no_path_is_refused(path):
    with pytest.raises(InvalidPath) as caught:
        manifest.parse_path(path)
    assert len(str(caught.value)) < 500
    str(caught.value).encode()


@pytest.mark.peer("M-PATH-1")
@given(
    st.text()
    | st.lists(st.sampled_from([".", "..", "a", "%2e", "%25", "2e", "/", "\\", "C:", "\x00", "%2f", "%5c", ":"])).map("".join)
)
@example("%2e%2e")
def test_no_path_that_is_let_in_leads_out_of_its_root(path):
    """I11, however a reader may decode it."""
    try:
        manifest.parse_path(path)
    except InvalidPath:
        return
    root = Path("/root-of-target")
    for text in (path, unquote(path), unquote(unquote(path)), unquote(unquote(unquote(path)))):
        assert ".." not in PurePosixPath(text).parts
        assert not PurePosixPath(text).is_absolute()
        assert not PureWindowsPath(path).drive
        assert "\x00" not in text
        assert os.path.normpath(root / text).startswith(f"{root}/")
    assert os.path.normpath(path) == path


@pytest.mark.parametrize("uri", NAMES["uris"]["valid"])
def test_uris(uri):
    assert manifest.parse_uri(uri) == uri


@pytest.mark.parametrize("uri", NAMES["uris"]["invalid"], ids=ascii)
def test_a_uri_that_carries_a_secret_is_refused_and_not_repeated(uri):
    """SEM-32, M-SEC-1."""
    with pytest.raises(InvalidReference) as caught:
        manifest.parse_uri(uri)
    for secret in ("secret", "abc"):
        assert secret not in str(caught.value)
        assert secret not in str(caught.value.metadata)


_DIGESTS = st.binary(min_size=32, max_size=32).map(Digest)
_PATHS = st.sampled_from(NAMES["paths"]["valid"])
_REFERENCES = st.builds(
    Reference,
    st.sampled_from(NAMES["uris"]["valid"]),
    st.text(st.characters(codec="utf-8"), max_size=20),
    st.text(st.characters(codec="utf-8"), min_size=1, max_size=20),
    st.sampled_from(ChangeTokenKind),
)
_ENTRIES = st.builds(Entry, _PATHS, _DIGESTS, st.integers(0, 1 << 62), st.booleans()) | st.builds(
    Entry, _PATHS, _DIGESTS, st.none() | st.integers(0, 1 << 62), st.booleans(), st.just(()), _REFERENCES
)


@given(_ENTRIES)
def test_an_entry_reads_as_it_is_written(entry):
    assert manifest.decode_entry(manifest.encode_entry(entry)) == entry


@given(_ENTRIES, _ENTRIES)
def test_different_entries_have_different_bytes(one, other):
    """SEM-10: fields are length-prefixed, so that no two entries share a form."""
    assert (manifest.encode_entry(one) == manifest.encode_entry(other)) == (one == other)


@given(st.lists(st.binary(max_size=50)))
def test_fields_split_as_they_were_joined(fields):
    assert list(manifest.split_fields(manifest.join_fields(fields))) == fields


@given(st.lists(st.builds(Segment, _DIGESTS, st.integers(0, (1 << 32) - 1), st.integers(1, 1 << 32)), max_size=20))
def test_segments_read_as_they_are_written(segments):
    encoded = manifest.encode_segments(segments)
    assert len(encoded) == 44 * len(segments)
    assert manifest.decode_segments(encoded) == tuple(segments)


@given(st.sets(st.lists(st.sampled_from(["a", "b", "a-b", "a.b", "ab"]), min_size=1, max_size=4).map("/".join), max_size=12))
def test_collisions_are_found_exactly_where_they_are(paths):
    collide = any(other.startswith(path + "/") for path in paths for other in paths)
    check = manifest.CollisionCheck()
    with pytest.raises(InvalidPath) if collide else nullcontext() as caught:
        for path in sorted(paths, key=str.encode):
            check.add(path)
    if caught is not None:
        assert caught.value.metadata["path"].startswith(caught.value.metadata["other"] + "/")


@pytest.mark.parametrize("second", ["a", "A", "`"], ids=["twice", "before", "just before"])
def test_a_hasher_takes_entries_in_order_only(second):
    hasher = manifest.ManifestHasher()
    hasher.add(Entry("a", EMPTY, 0))
    with pytest.raises(InvalidPath, match="out of order"):
        hasher.add(Entry(second, EMPTY, 0))
    assert hasher.entry_count == 1


CHUNK = Digest.of(b"abc")


@pytest.mark.parametrize(
    "entry",
    [
        Entry("a", EMPTY, 0),
        Entry("a", CHUNK, 3, segments=(Segment(CHUNK, 0, 3),)),
        Entry("a", CHUNK, 3, True, (Segment(CHUNK, 0, 1), Segment(CHUNK, 5, 2))),
        Entry("a", CHUNK, None, reference=Reference("s3://b/k")),
        Entry("a", CHUNK, 0, reference=Reference("s3://b/k", "v", "token", ChangeTokenKind.ETAG, 5)),
    ],
)
def test_entries_that_fit(entry):
    entry.check()


@pytest.mark.parametrize(
    ("entry", "error"),
    [
        (Entry("../a", EMPTY, 0), InvalidPath),
        (Entry("a", CHUNK, None), InvalidEntry),
        (Entry("a", CHUNK, -1), InvalidEntry),
        (Entry("a", CHUNK, 0), InvalidEntry),
        (Entry("a", CHUNK, 3), InvalidEntry),
        (Entry("a", CHUNK, 3, segments=(Segment(CHUNK, 0, 4),)), InvalidEntry),
        (Entry("a", CHUNK, 3, segments=(Segment(CHUNK, 0, 3), Segment(CHUNK, 0, 0))), InvalidEntry),
        (Entry("a", CHUNK, 3, segments=(Segment(CHUNK, -1, 3),)), InvalidEntry),
        (Entry("a", CHUNK, 3, segments=(Segment(CHUNK, 0, 5), Segment(CHUNK, 0, -2))), InvalidEntry),
        (Entry("a", CHUNK, 1 << 32, segments=(Segment(CHUNK, 0, 1 << 32),)), InvalidEntry),
        (Entry("a", CHUNK, 3, segments=(Segment(CHUNK, 0, 3),), reference=Reference("s3://b/k")), InvalidEntry),
        (Entry("a", CHUNK, -1, reference=Reference("s3://b/k")), InvalidReference),
        (Entry("a", CHUNK, 3, reference=Reference("s3://b/k", change_token="t")), InvalidReference),
        (Entry("a", CHUNK, 3, reference=Reference("s3://b/k", change_token_kind=ChangeTokenKind.ETAG)), InvalidReference),
        (Entry("a", CHUNK, 3, reference=Reference("s3://b/k", object_version="v" * 5000)), InvalidReference),
        (Entry("a", CHUNK, 3, reference=Reference("https://u:p@h/x")), InvalidReference),
    ],
)
def test_entries_that_do_not_fit_are_refused(entry, error):
    with pytest.raises(error):
        entry.check()
