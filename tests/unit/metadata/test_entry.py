"""Entries of versions: listed and streamed, over many pages (SEM-7, 27, 37)."""

from collections.abc import Sequence

import pytest
from modelkeep.digest import Digest
from modelkeep.errors import InvalidPageToken, InvalidPath, PermissionDenied, VersionNotFound
from modelkeep.manifest import ChangeTokenKind, Entry, Reference, Segment, decode_segments, manifest_digest
from modelkeep_server.database.paging import Page
from modelkeep_server.metadata.domain.entry import EntryPart, Piece
from modelkeep_server.metadata.domain.page import Line
from modelkeep_server.metadata.store.tables import ManifestPageRow, ManifestSegmentPageRow, PageRow

from tests.unit.metadata.rig import CALLER, DIGITS, OTHER, Rig

V0 = DIGITS.version(0)


async def streamed(rig: Rig, prefix: str = "", after: str = "") -> list[Sequence[EntryPart]]:
    messages = rig.entries.stream_entries(CALLER, V0, prefix, after)
    return [[opened(piece) for piece in message] async for message in messages]


def opened(piece: Piece) -> EntryPart:
    """What comes as a line, as the part that it is."""
    if isinstance(piece, EntryPart):
        return piece
    line = Line.decode(piece[1])
    return EntryPart(piece[0].decode(), line.open(), decode_segments(line.segments), continued=False)


async def paths(rig: Rig, prefix: str = "", after: str = "") -> list[str]:
    return [part.path for message in await streamed(rig, prefix, after) for part in message]


async def listed(rig: Rig, prefix: str = "", size: int = 50) -> list[Entry]:
    entries: list[Entry] = []
    token = ""
    while True:
        page = await rig.entries.list_entries(CALLER, V0, prefix, Page(size, token))
        entries += page.items
        token = page.next_token
        if not token:
            return entries


async def test_entries_come_out_as_they_went_in(rig: Rig) -> None:
    reference = Reference("s3://b/k", "v1", '"abc"', ChangeTokenKind.ETAG, 1_700_000_000_000_000)
    entries = [
        rig.file("bin/run", b"#!", executable=True),
        rig.file("empty", b""),
        rig.cut_file("weights", b"12", b"34"),
        Entry("ref", Digest.of(b"x"), None, reference=reference),
        rig.file("ünïcode/Ω", b"1"),
    ]
    await rig.commit(await rig.draft(entries))
    expected = sorted(entries, key=lambda entry: entry.path.encode())
    (message,) = await streamed(rig)
    assert [(part.path, part.segments, part.continued) for part in message] == [
        (entry.path, entry.segments, False) for entry in expected
    ]
    assert [part.entry for part in message] == await listed(rig)
    assert {entry.path: entry.reference for entry in await listed(rig)}["ref"] == reference


TREE = ["a", "a-b", "b/a", "b/a.txt", "b/a/c", "b/a/d/e", "b/a0", "b/b", "c.txt"]


@pytest.mark.parametrize(
    ("prefix", "found"),
    [
        ("", TREE),
        ("a", ["a"]),
        ("b", TREE[2:8]),
        ("c.txt", ["c.txt"]),
        ("c", []),
        ("b/a", ["b/a/c", "b/a/d/e"]),
        ("b/a/d", ["b/a/d/e"]),
        ("nothing", []),
    ],
)
async def test_a_prefix_matches_whole_segments(rig: Rig, prefix: str, found: list[str]) -> None:
    """SEM-37."""
    tree = [path for path in TREE if path != "b/a"]
    await rig.log(dict.fromkeys(tree, b"1"))
    found = [path for path in found if path != "b/a"]
    assert await paths(rig, prefix) == found
    assert [entry.path for entry in await listed(rig, prefix, 2)] == found


async def test_a_large_version_is_cut_into_pages_that_others_share(rig: Rig) -> None:
    """DESIGN §2: two versions that differ in one file share all but a page or two."""
    entries = [rig.file(f"d{i % 7}/f{i:05}", str(i % 10).encode()) for i in range(5000)]
    first = await rig.commit(await rig.draft(entries))
    assert first.version.digest == manifest_digest(entries)
    pages = await rig.count(PageRow)
    places = await rig.count(ManifestPageRow)
    assert 5 <= places <= pages <= 20
    expected = sorted(entry.path for entry in entries)
    assert await paths(rig) == expected
    assert [entry.path for entry in await listed(rig, size=999)] == expected
    assert await paths(rig, after=expected[2999]) == expected[3000:]
    assert await paths(rig, "d3", after=expected[2500]) == [path for path in expected[2501:] if path.startswith("d3/")]
    await rig.commit(await rig.draft([*entries, rig.file("d3/new", b"new")]))
    assert await rig.count(PageRow) <= pages + 2
    assert await rig.count(ManifestPageRow) >= 2 * places


async def test_a_seal_reads_and_writes_a_bounded_amount_at_a_time(rig: Rig) -> None:
    """SEM-27: statements grow with pages and batches, not with entries."""
    draft = await rig.draft([rig.file(f"f{i:05}", b"1") for i in range(5000)])
    with rig.statements() as statements:
        await rig.commit(draft)
    assert len([one for one in statements if not one.startswith(("BEGIN", "COMMIT"))]) < 100


async def test_a_long_entry_is_streamed_in_parts_of_a_bounded_size(rig: Rig) -> None:
    """DESIGN §2: the segments of a long entry go on in what follows; every message is below 1 MiB."""
    data = bytes(i % 251 for i in range(19_900))
    chunk = rig.put(data + b"!")
    entry = Entry("long", Digest.of(data), len(data), False, tuple(Segment(chunk, i, 1) for i in range(len(data))))
    await rig.commit(await rig.draft([entry, rig.file("a", b"1"), rig.file("z", b"2")]))
    assert await rig.count(ManifestSegmentPageRow) == 20
    messages = await streamed(rig)
    assert len(messages) > 1
    parts = [part for message in messages for part in message]
    assert [part.path for part in parts] == ["a", *["long"] * 20, "z"]
    long = parts[1:-1]
    assert [part.entry is not None for part in long] == [True] + [False] * 19
    assert [part.continued for part in long] == [True] * 19 + [False]
    assert tuple(segment for part in long for segment in part.segments) == entry.segments
    assert all(sum(len(part.segments) for part in message) * 60 < 1 << 20 for message in messages)


async def test_a_page_of_entries_ends_early_when_they_are_large(rig: Rig) -> None:
    """SEM-27: a page fits into one message."""
    entries = [
        Entry(f"r{i:04}", Digest.of(b"x"), None, reference=Reference("s3://b/" + "k" * 4000, "v" * 4000)) for i in range(300)
    ]
    await rig.commit(await rig.draft(entries))
    page = await rig.entries.list_entries(CALLER, V0, "", Page(1000))
    assert 100 < len(page.items) < 130
    assert [entry.path for entry in await listed(rig, size=1000)] == [entry.path for entry in entries]


async def test_what_is_not_there_or_not_allowed(rig: Rig) -> None:
    await rig.log({"a": b"1", "b": b"2"})
    with pytest.raises(InvalidPath):
        await rig.entries.list_entries(CALLER, V0, "../x", Page())
    with pytest.raises(InvalidPath):
        await streamed(rig, after="/x")
    with pytest.raises(VersionNotFound):
        await rig.entries.list_entries(CALLER, DIGITS.version(1), "", Page())
    with pytest.raises(PermissionDenied):
        await rig.entries.list_entries(OTHER, V0, "", Page())
    with pytest.raises(PermissionDenied):
        [message async for message in rig.entries.stream_entries(OTHER, V0, "", "")]
    page = await rig.entries.list_entries(CALLER, V0, "", Page(1))
    with pytest.raises(InvalidPageToken):
        await rig.entries.list_entries(CALLER, V0, "a", Page(1, page.next_token))
