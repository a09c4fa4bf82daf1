"""Pages: their frozen form, where they are cut, and what comes back out of them (DESIGN §2, SEM-10)."""

import zlib
from collections.abc import Sequence
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from modelkeep.digest import Digest
from modelkeep.errors import InvalidPath, LimitExceeded
from modelkeep.manifest import (
    ChangeTokenKind,
    CollisionCheck,
    Entry,
    Reference,
    Segment,
    decode_segments,
    manifest_digest,
)
from modelkeep_server.metadata.domain import entry as entries_module
from modelkeep_server.metadata.domain.entry import Assembler
from modelkeep_server.metadata.domain.manifest import Manifest, Sealer
from modelkeep_server.metadata.domain.page import (
    BOUNDARY,
    MAX_BYTES,
    Line,
    Page,
    PageCutter,
    layout_of,
    read_page,
    read_segment_page,
    split_page,
)
from modelkeep_server.metadata.domain.stretch import Stretch

from tests.unit.metadata.rig import more, part
from tests.vectors import load

VECTORS = load("pages.json")


def entry_of(vector: dict[str, Any]) -> Entry:
    reference = None
    if "reference" in vector:
        fields = dict(vector["reference"])
        if "change_token_kind" in fields:
            fields["change_token_kind"] = ChangeTokenKind(fields["change_token_kind"])
        reference = Reference(**fields)
    segments = tuple(Segment(Digest.parse(s["chunk"]), s["offset"], s["length"]) for s in vector["segments"])
    return Entry(
        vector["path"],
        Digest.parse(vector["digest"]),
        vector["size_bytes"],
        vector.get("executable", False),
        segments,
        reference,
    )


def file(path: str, data: bytes = b"1") -> Entry:
    return Entry(path, Digest.of(data), len(data), False, (Segment(Digest.of(data), 0, len(data)),))


def sealed(entries: Sequence[Entry]) -> tuple[Manifest, list[Page], dict[Digest, bytes]]:
    """The manifest of entries in any order, its pages, and its segment pages."""
    assembler = Assembler()
    for entry in entries:
        assembler.add(part(entry))
    assembler.end()
    batch = assembler.take()
    sealer = Sealer()
    pages = sealer.add(Stretch.of(sorted(batch.lines.items())))
    rest = sealer.rest()
    return sealer.manifest(), pages + [rest] * (rest is not None), {page.digest: page.data for page in batch.pages}  # type: ignore[list-item]


def opened(pages: Sequence[Page], segment_pages: dict[Digest, bytes]) -> list[Entry]:
    """The entries of pages, with all their segments."""
    found = []
    for page in pages:
        for line in read_page(page.data):
            entry = line.open()
            stored = line.segments + b"".join(read_segment_page(segment_pages[digest]) for digest in line.page_digests())
            found.append(
                Entry(entry.path, entry.digest, entry.size_bytes, entry.executable, decode_segments(stored), entry.reference)
            )
    return found


@pytest.mark.parametrize("vector", VECTORS["manifests"], ids=lambda vector: vector["name"])
def test_pages_are_the_golden_ones(vector: dict[str, Any]) -> None:
    entries = [entry_of(one) for one in vector["entries"]]
    manifest, pages, segment_pages = sealed(entries)
    assert [page.data.hex() for page in pages] == [page["hex"] for page in vector["pages"]]
    assert [str(page.digest) for page in pages] == [page["digest"] for page in vector["pages"]]
    assert str(manifest.layout) == vector["layout"]
    assert str(manifest.digest) == vector["digest"]
    assert str(manifest.segments_digest) == vector["segments_digest"]
    assert opened(pages, segment_pages) == sorted(entries, key=lambda entry: entry.path.encode())


def test_segment_pages_are_the_golden_ones() -> None:
    vector = VECTORS["long"]
    chunk = Digest.parse(vector["chunk"])
    segments = tuple(Segment(chunk, i, 1) for i in range(vector["segment_count"]))
    entry = Entry(vector["path"], Digest.parse(vector["digest"]), len(segments), False, segments)
    manifest, (page,), segment_pages = sealed([entry])
    assert [str(digest) for digest in segment_pages] == vector["segment_pages"]
    first = next(iter(segment_pages.values()))
    assert first.hex().startswith(vector["first_segment_page_starts_with_hex"])
    assert (page.data.hex(), str(page.digest)) == (vector["page"]["hex"], vector["page"]["digest"])
    assert (str(manifest.layout), str(manifest.segments_digest)) == (vector["layout"], vector["segments_digest"])
    assert opened([page], segment_pages) == [entry]


def test_pages_are_cut_where_the_golden_ones_are() -> None:
    vector = VECTORS["many"]
    manifest, pages, _ = sealed([file(f"f{i:05}", str(i).encode()) for i in range(vector["count"])])
    cut = [{"digest": str(page.digest), "entry_count": page.entry_count} for page in pages]
    assert cut == vector["pages"]
    assert (str(manifest.layout), str(manifest.digest)) == (vector["layout"], vector["digest"])
    assert str(manifest.segments_digest) == vector["segments_digest"]


def test_pages_have_64_to_4096_lines() -> None:
    """Whatever the paths are: these would never end a page, and those would end one each."""
    never = [path for i in range(9000) if zlib.crc32((path := f"n{i:05}").encode()) % BOUNDARY][:8200]
    _, pages, _ = sealed([file(path) for path in never])
    assert [page.entry_count for page in pages] == [4096, 4096, 8]
    always = [path for i in range(100_000) if zlib.crc32((path := f"a{i:06}").encode()) % BOUNDARY == 0]
    _, pages, _ = sealed([file(path) for path in always])
    assert {page.entry_count for page in pages[:-1]} == {64}


def test_a_page_is_bounded_in_bytes() -> None:
    """SEM-27: no page is larger than 64 of the largest lines and 1 MiB."""
    entries = [Entry(f"r{i:05}", Digest.of(b"x"), None, reference=Reference("s3://b/" + "k" * 4000)) for i in range(1000)]
    _, pages, _ = sealed(entries)
    assert all(len(page.data) < MAX_BYTES + 5000 for page in pages)
    assert len(pages) >= 4


def test_a_change_touches_only_the_pages_around_it() -> None:
    entries = [file(f"f{i:05}") for i in range(20_000)]
    before = {page.digest for page in sealed(entries)[1]}
    for changed in (entries[1:], [*entries, file("f10000a")], [*entries[:-1], file("f19999", b"2")]):
        after = {page.digest for page in sealed(changed)[1]}
        assert len(after - before) <= 2
        assert len(before) > 20


def test_an_entry_has_a_bounded_number_of_segments(monkeypatch: pytest.MonkeyPatch) -> None:
    """SEM-27."""
    monkeypatch.setattr(entries_module, "MAX_SEGMENT_PAGES", 2)
    chunk = Digest.of(b"c")
    entry = Entry("long", chunk, 4000, False, tuple(Segment(chunk, i, 1) for i in range(4000)))
    assembler = Assembler()
    with pytest.raises(LimitExceeded, match="2,048 segments"):
        assembler.add(part(entry))


def test_layouts_name_pages_in_their_order() -> None:
    one, two = Digest.of(b"1"), Digest.of(b"2")
    assert len({layout_of([]), layout_of([one]), layout_of([one, two]), layout_of([two, one])}) == 4


@pytest.mark.parametrize("data", [b"", b"x", b"modelkeep-segments\x00\x01", b"modelkeep-page\x00\x02"])
def test_other_bytes_are_no_page(data: bytes) -> None:
    with pytest.raises(ValueError, match="not a page"):
        read_page(data)
    with pytest.raises(ValueError, match="not a page"):
        read_segment_page(b"modelkeep-page\x00\x01")


PATHS = st.lists(st.sampled_from(["a", "b", "a-b", "a.b", "é", "zz"]), min_size=1, max_size=3).map("/".join)
DATA = st.binary(max_size=12)


@given(st.dictionaries(PATHS, st.tuples(DATA, st.integers(0, 12), st.booleans()), max_size=30), st.randoms())
def test_whatever_is_sealed_comes_out_again(files: dict[str, tuple[bytes, int, bool]], random: Any) -> None:
    """Entries in any order and any layout: one digest, and the same entries; or paths that collide are refused (SEM-7)."""
    entries = []
    for path, (data, cut, executable) in files.items():
        halves = [half for half in (data[:cut], data[cut:]) if half]
        segments = tuple(Segment(Digest.of(half), 0, len(half)) for half in halves)
        entries.append(Entry(path, Digest.of(data), len(data), executable, segments))
    random.shuffle(entries)
    collide = any(other.startswith(path + "/") for path in files for other in files)
    if collide:
        with pytest.raises(InvalidPath):
            sealed(entries)
        return
    manifest, pages, segment_pages = sealed(entries)
    assert manifest.digest == manifest_digest(entries)
    assert opened(pages, segment_pages) == sorted(entries, key=lambda entry: entry.path.encode())
    assert manifest.stored_bytes == sum(len(data) for data, _, _ in files.values())


@given(st.integers(1, 4000), st.lists(st.integers(0, 4000), max_size=6))
def test_a_line_does_not_depend_on_how_its_segments_came(count: int, cuts: list[int]) -> None:
    chunk = Digest.of(b"c")
    segments = tuple(Segment(chunk, i, 1) for i in range(count))
    entry = Entry("long", chunk, count, False, segments)
    at_once = Assembler()
    at_once.add(part(entry))
    in_parts = Assembler()
    bounds = [0, *sorted(min(cut, count) for cut in cuts), count]
    pieces = [segments[start:end] for start, end in pairwise(bounds)]
    in_parts.add(part(entry, pieces[0], continued=len(pieces) > 1))
    for i, piece in enumerate(pieces[1:], 1):
        in_parts.add(more(entry, piece, continued=i < len(pieces) - 1))
    one, two = at_once.take(), in_parts.take()
    assert (one.lines, [page.digest for page in one.pages]) == (two.lines, [page.digest for page in two.pages])
    assert Line.decode(one.lines[b"long"]).open().size_bytes == count


PATHS = st.lists(st.text("ab/-0", min_size=1, max_size=6), unique=True, max_size=30).map(sorted)


@given(PATHS, st.lists(st.integers(1, 9), min_size=1))
def test_collisions_are_found_however_paths_come(paths: list[str], steps: list[int]) -> None:
    """SEM-7: one by one or many at a time, and as the definition says."""
    encoded = [path.encode() for path in paths]
    collides = any(other.startswith(path + b"/") for path in encoded for other in encoded)
    one_by_one, together = CollisionCheck(), CollisionCheck()

    def singly() -> None:
        for path in encoded:
            one_by_one.add_encoded(path)

    def in_steps() -> None:
        at = 0
        for step in (steps * 30)[:30]:
            together.add_many(encoded[at : at + step])
            at += step

    for work in (singly, in_steps):
        if collides:
            with pytest.raises(InvalidPath):
                work()
        else:
            work()


@pytest.mark.parametrize("step", [1, 63, 64, 1000, 5000])
@pytest.mark.parametrize("segments", [1, 200])
def test_pages_are_cut_at_the_same_places_however_lines_come(step: int, segments: int) -> None:
    """By lines, by the hash of a path, or by bytes."""
    digest = Digest.of(b"1")
    parts = tuple(Segment(digest, i, 1) for i in range(segments))
    entries = [Entry(f"f{i:05}", digest, segments, False, parts) for i in range(5000)]
    lines = [(line.path, line.encode()) for line in map(Line.of, entries)]
    one_by_one, together = PageCutter(), PageCutter()
    pages = [page for path, line in lines if (page := one_by_one.add(path, line))]
    found = [page for start in range(0, len(lines), step) for page in together.extend(lines[start : start + step])]
    assert found == pages
    assert together.rest() == one_by_one.rest()
    assert [split_page(page.data) for page in pages[:2]] == [
        lines[: pages[0].entry_count],
        lines[pages[0].entry_count :][: pages[1].entry_count],
    ]


def test_lines_that_are_no_plain_files_are_sealed_the_same_way() -> None:
    """A reference among files takes all of them the slow way: the digest is that of their canonical form either way."""
    files = [file(f"f{i:03}", str(i).encode()) for i in range(100)]
    long = Entry("g", Digest.of(b"g"), 2000, False, tuple(Segment(Digest.of(b"c"), i, 1) for i in range(2000)))
    reference = Entry("r", Digest.of(b"r"), None, reference=Reference("s3://b/a"))  # as long as a file's size and no URI
    for entries in (files, [*files, reference], [*files, long], [*files, long, reference]):
        manifest, _, segment_pages = sealed(entries)
        assert manifest.digest == manifest_digest(entries)
        assert manifest.stored_bytes == sum(entry.size_bytes or 0 for entry in entries)
        assert (len(segment_pages), manifest.referenced_bytes) == (2 * (long in entries), 0)


def test_a_page_that_is_damaged_is_not_split() -> None:
    (page,) = sealed([file("a"), file("b")])[1]
    for data in (page.data[:-1], page.data + b"\x00", page.data[1:], page.data[:16] + b"\xff" + page.data[17:]):
        with pytest.raises(ValueError, match="page"):
            split_page(data)
