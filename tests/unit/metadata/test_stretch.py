"""Lines taken apart in one go say what each says by itself; whole pages pass as they are (DESIGN §2, SEM-10, SEM-24)."""

from collections.abc import Sequence
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st
from modelkeep.digest import Digest
from modelkeep.errors import DigestMismatch, InvalidEntry
from modelkeep.manifest import Entry, Reference, Segment, decode_segments, join_fields, manifest_digest
from modelkeep_server.metadata.domain.confirmation import Confirmation
from modelkeep_server.metadata.domain.manifest import Sealer
from modelkeep_server.metadata.domain.page import SEGMENTS_PER_PAGE, Keyed, Line, Page, PageCutter
from modelkeep_server.metadata.domain.stretch import Claim, Columns, Stretch, claims_of

CHUNKS = [Digest.of(bytes([number])) for number in range(3)]
SEGMENTS = st.lists(st.builds(Segment, st.sampled_from(CHUNKS), st.integers(0, 9), st.integers(1, 9)), max_size=3).map(tuple)


def entry(number: int, segments: tuple[Segment, ...], kind: str) -> Entry:
    path = f"f{number:05}"
    if kind == "reference":
        return Entry(path, Digest.of(b"r"), 8, reference=Reference("s3://b/k", "v1", checked_micros=7))
    if kind == "unsized":
        return Entry(path, Digest.of(b"r"), None, reference=Reference("s3://b/k"))
    if kind == "whole":
        segments = (Segment(CHUNKS[0], 0, 5),)
        return Entry(path, CHUNKS[0], 5, False, segments)
    return Entry(path, Digest.of(b"f"), sum(s.length for s in segments), kind == "executable", segments)


ENTRIES = st.lists(
    st.tuples(SEGMENTS, st.sampled_from(["file", "executable", "whole", "reference", "unsized"])), min_size=1, max_size=30
).map(lambda some: [entry(number, *one) for number, one in enumerate(some)])


def lines_of(entries: Sequence[Entry]) -> list[Keyed]:
    return [(line.path, line.encode()) for line in map(Line.of, entries)]


@given(ENTRIES)
def test_columns_say_what_lines_say(entries: list[Entry]) -> None:
    columns = Stretch.of(lines_of(entries)).columns
    claims = [
        (e.path.encode(), s.chunk.sha256, s.offset, s.length, e.digest.hex.encode() if len(e.segments) == 1 else b"")
        for e in entries
        for s in e.segments
    ]
    assert columns.paths == [e.path.encode() for e in entries]
    assert columns.entries == [Line.of(e).entry for e in entries]
    assert columns.segments == [join_fields((line.segments, line.segment_pages)) for line in map(Line.of, entries)]
    assert columns.claims == claims
    assert columns.stored_bytes == sum(e.size_bytes or 0 for e in entries if not e.reference)
    assert columns.referenced_bytes == sum(e.size_bytes or 0 for e in entries if e.reference)


def test_the_segments_of_a_long_entry_are_in_its_pages() -> None:
    digests = Digest.of(b"1").sha256 + Digest.of(b"2").sha256
    line = Line.of(Entry("a", Digest.of(b"a"), SEGMENTS_PER_PAGE + 1), digests)
    columns = Columns.of(line.encode())
    assert (columns.claims, columns.long, columns.stored_bytes) == ([], [(b"a", digests)], SEGMENTS_PER_PAGE + 1)


@given(ENTRIES, st.integers(1, 400))
def test_lines_that_are_cut_off_are_refused(entries: list[Entry], cut: int) -> None:
    data = b"".join(line for _, line in lines_of(entries))
    ends = {sum(len(line) for _, line in lines_of(entries)[:count]) for count in range(len(entries) + 1)}
    damaged = data[: -min(cut, len(data))]
    if len(damaged) in ends:
        return
    with pytest.raises(ValueError, match="longer than the page"):
        Columns.of(damaged)


def small(count: int, at: int = 0) -> list[Entry]:
    digest = Digest.of(b"1")
    return [Entry(f"f{i:05}", digest, 1, False, (Segment(digest, 0, 1),)) for i in range(at, at + count)]


def stretch_of(page: Page) -> Stretch:
    return Stretch.of_page(page.data, page.first_path, page.last_path, page.entry_count, page.digest)


@pytest.mark.parametrize("parts", [[20_000], [7000, 3, 9000, 3997], [1] * 70 + [5000]])
def test_whole_pages_pass_and_others_are_cut_again(parts: list[int]) -> None:
    """The manifest is the same however its lines came; a page that stands as the rule wants is neither cut nor hashed."""
    entries = small(sum(parts))
    one = Sealer()
    pages = one.add(Stretch.of(lines_of(entries)))
    pages += [rest] if (rest := one.rest()) else []
    runs: list[Page] = []
    bounds = [0, *(sum(parts[: i + 1]) for i in range(len(parts)))]
    for begin, end in pairwise(bounds):
        cutter = PageCutter()
        runs += cutter.extend(lines_of(entries[begin:end]))
        runs += [last] if (last := cutter.rest()) else []
    other = Sealer()
    made = [page for run in runs for page in other.add(stretch_of(run))]
    made += [rest] if (rest := other.rest()) else []
    assert other.manifest() == one.manifest()
    assert other.manifest().digest == manifest_digest(entries)
    assert other.slots == one.slots
    assert {page.digest for page in pages} == {page.digest for page in (*made, *runs)} & {page.digest for page in pages}
    if len(parts) == 1:
        assert len(made) == 1  # the last one, which ended only because no more lines came


def test_a_page_that_is_not_looked_into_is_not_split() -> None:
    (page,) = [cut for cutter in [PageCutter()] for cut in cutter.extend(lines_of(small(2000)))[:1]]
    stretch = stretch_of(page)
    assert (len(stretch), stretch.first_path, stretch.last_path) == (page.entry_count, page.first_path, page.last_path)
    assert stretch._lines is None
    assert list(stretch.lines) == lines_of(small(page.entry_count))
    with pytest.raises(ValueError, match="not a page"):
        Stretch.of_page(b"x", b"", b"", 1, page.digest)


CLAIMS = st.lists(
    st.tuples(st.sampled_from(CHUNKS[:2]), st.integers(0, 6), st.integers(1, 6), st.sampled_from([b"", b"other", b"same"])),
    max_size=25,
)


@given(CLAIMS, st.lists(st.integers(-1, 12), min_size=2, max_size=2), st.integers(1, 25))
def test_claims_that_tell_nothing_are_left_out_and_nothing_is_missed(
    drawn: list[tuple[Digest, int, int, bytes]], sizes: list[int], step: int
) -> None:
    """SEM-24: the same verdict as when each claim is held against the size of its chunk by itself."""
    known = dict(zip([chunk.sha256 for chunk in CHUNKS], sizes, strict=False))
    claims: list[Claim] = [
        (b"%d" % number, chunk.sha256, offset, length, {b"same": chunk.hex.encode(), b"other": b"0" * 64}.get(only, b""))
        for number, (chunk, offset, length, only) in enumerate(drawn)
    ]
    wrong, proven = set(), True
    for _, chunk, offset, length, only in claims:
        size = known[chunk]
        if size < 0:
            continue
        is_whole = bool(only) and length == size
        if offset + length > size:
            wrong.add(InvalidEntry)
        elif only and is_whole != (only == chunk.hex().encode()):
            wrong.add(DigestMismatch)
        proven = proven and is_whole
    confirmation = Confirmation()
    raised: type[Exception] | None = None
    try:
        for at in range(0, len(claims), step):
            confirmation.add(claims[at : at + step])
        while batch := confirmation.take():
            confirmation.answer(batch, [known[chunk] for chunk in batch])
    except (InvalidEntry, DigestMismatch) as error:
        raised = type(error)
    assert (raised in wrong) if wrong else raised is None
    if raised is None and min(sizes) >= 0:
        assert confirmation.is_proven == proven


def test_of_a_pack_few_claims_wait() -> None:
    """SEM-27: a chunk full of small files takes no more memory while it is asked for than one of two files."""
    confirmation = Confirmation()
    digest = Digest.of(b"pack")
    confirmation.add([(b"f%d" % i, digest.sha256, i, 1, b"0" * 64) for i in range(5000)])
    assert sum(map(len, confirmation.take().values())) == 2


def test_claims_of_segments() -> None:
    segments = (Segment(CHUNKS[0], 1, 2), Segment(CHUNKS[1], 3, 4))
    data = b"".join(s.chunk.sha256 + s.offset.to_bytes(4) + s.length.to_bytes(8) for s in segments)
    assert decode_segments(data) == segments
    assert claims_of(b"p", data) == [(b"p", CHUNKS[0].sha256, 1, 2, b""), (b"p", CHUNKS[1].sha256, 3, 4, b"")]
