"""Drafts and the entries that stream into them (SEM-7, 8, 26, 27, 42)."""

from dataclasses import replace
from datetime import timedelta

import pytest
from modelkeep.digest import EMPTY, Digest
from modelkeep.errors import (
    CollectionTypeMismatch,
    DraftNotFound,
    DraftNotOpen,
    InvalidArgument,
    InvalidEntry,
    InvalidPath,
    InvalidReference,
    LimitExceeded,
    PathConflict,
    RequestIdReused,
    TeamNotFound,
)
from modelkeep.manifest import Entry, Reference, Segment
from modelkeep.names import CollectionName, DraftName, ProjectName
from modelkeep_server.metadata.domain.draft import DraftState
from modelkeep_server.metadata.domain.limits import Limits
from modelkeep_server.metadata.store.tables import DraftEntryRow, DraftPageRow, PageRow
from sqlalchemy import func, select

from tests.unit.metadata.rig import CALLER, DIGITS, OTHER, PROJECT, Rig, call, more, part, stream

DAY = timedelta(days=1)


async def test_a_draft_is_open_for_its_life(rig: Rig) -> None:
    """SEM-8."""
    draft = await rig.drafts.create_draft(call(), PROJECT, DIGITS, "model")
    assert (draft.state, draft.collection, draft.type, draft.version) == (DraftState.OPEN, DIGITS, "model", None)
    assert abs(draft.expire_time - draft.create_time - DAY) < timedelta(seconds=1)
    assert await rig.drafts.get_draft(CALLER, draft.name) == draft


async def test_a_repeated_create_draft_answers_the_same_draft(rig: Rig) -> None:
    """SEM-14."""
    create = call(request_id="5f2b9a30-2d54-4c8e-9d0a-2c6a3a5a9b11")
    first = await rig.drafts.create_draft(create, PROJECT, DIGITS, "model")
    assert await rig.drafts.create_draft(create, PROJECT, DIGITS, "model") == first
    with pytest.raises(RequestIdReused):
        await rig.drafts.create_draft(replace(create, fingerprint=bytes(32)), PROJECT, DIGITS, "model")


async def test_another_type_is_refused_and_the_existing_one_named(rig: Rig) -> None:
    """SEM-2."""
    await rig.draft(type_="model")
    with pytest.raises(CollectionTypeMismatch) as raised:
        await rig.draft(type_="dataset")
    assert raised.value.metadata["type"] == "model"
    assert "'model'" in str(raised.value)


async def test_where_a_draft_can_be(rig: Rig) -> None:
    """SEM-1: projects and collections are made, teams are not."""
    elsewhere = CollectionName("acme", "other", "digits")
    with pytest.raises(InvalidArgument):
        await rig.drafts.create_draft(call(), PROJECT, elsewhere, "model")
    nowhere = CollectionName("rivals", "p", "c")
    with pytest.raises(TeamNotFound):
        await rig.drafts.create_draft(call(caller=OTHER), nowhere.parent, nowhere, "model")


async def test_a_draft_ends_by_the_clock_of_the_database(rig: Rig) -> None:
    """SEM-8: it counts as expired in every call, though nothing wrote that down."""
    draft = await rig.draft([rig.file("w", b"1")])
    rig.clock.offset = DAY + timedelta(seconds=1)
    assert (await rig.drafts.get_draft(CALLER, draft)).state is DraftState.EXPIRED
    with pytest.raises(DraftNotOpen) as raised:
        await rig.add(draft, [rig.file("x", b"2")])
    assert raised.value.metadata["state"] == "expired"
    with pytest.raises(DraftNotOpen):
        await rig.commit(draft)
    aborted = await rig.drafts.abort_draft(call("AbortDraft"), draft)
    assert aborted.state is DraftState.EXPIRED


async def test_entries_move_the_end_of_a_draft_forward(rig: Rig) -> None:
    draft = await rig.draft()
    rig.clock.offset = DAY / 2
    await rig.add(draft, [rig.file("w", b"1")])
    rig.clock.offset = DAY + timedelta(hours=1)
    assert (await rig.drafts.get_draft(CALLER, draft)).state is DraftState.OPEN


async def test_aborting_ends_a_draft_and_drops_its_entries(rig: Rig) -> None:
    draft = await rig.draft([rig.file("w", b"1")])
    for _ in range(2):
        assert (await rig.drafts.abort_draft(call("AbortDraft"), draft)).state is DraftState.ABORTED
    assert await kept(rig) == 0
    with pytest.raises(DraftNotOpen):
        await rig.commit(draft)
    committed = await rig.draft([rig.file("w", b"1")])
    await rig.commit(committed)
    with pytest.raises(DraftNotOpen):
        await rig.drafts.abort_draft(call("AbortDraft"), committed)


async def test_entries_of_expired_drafts_are_dropped_when_others_are_opened(rig: Rig) -> None:
    await rig.draft([rig.file(f"f{i}", b"1") for i in range(10)])
    rig.clock.offset = 2 * DAY
    await rig.draft()
    assert await kept(rig) == 0


async def kept(rig: Rig) -> int:
    """How many entries drafts keep, in lines and in runs."""
    runs = await rig.database.read(lambda session: session.scalar(select(func.sum(DraftPageRow.entry_count))))
    return await rig.count(DraftEntryRow) + (runs or 0)


async def test_unknown_drafts(rig: Rig) -> None:
    draft = await rig.draft()
    for name in (DraftName("acme", "vision", "5f2b9a30-2d54-4c8e-9d0a-2c6a3a5a9b11"), DraftName("acme", "other", draft.draft)):
        with pytest.raises(DraftNotFound):
            await rig.drafts.get_draft(CALLER, name)
        with pytest.raises(DraftNotFound):
            await rig.add(name, [])


async def test_the_same_content_may_come_again_other_content_not(rig: Rig) -> None:
    """SEM-42: within a message, over messages, and over streams."""
    draft = await rig.draft([rig.file("w", b"1"), rig.file("w", b"1")])
    assert await rig.add(draft, [rig.file("w", b"1"), rig.file("x", b"2")]) == 2
    for entries in (
        [rig.file("w", b"other")],
        [rig.file("y", b"1"), rig.file("y", b"2")],
        [rig.file("w", b"1", executable=True)],
    ):
        with pytest.raises(PathConflict) as raised:
            await rig.add(draft, entries)
        assert {"path", "digest", "other_digest"} == raised.value.metadata.keys()
    assert (await rig.commit(draft)).version.entry_count == 2


async def test_other_segments_for_the_same_content_are_no_conflict(rig: Rig) -> None:
    draft = await rig.draft([rig.cut_file("w", b"12", b"34")])
    await rig.add(draft, [rig.cut_file("w", b"1", b"234")])
    assert (await rig.commit(draft)).version.entry_count == 1


BAD = [
    (lambda e: replace(e, path="../w"), InvalidPath),
    (lambda e: replace(e, path="/etc/passwd"), InvalidPath),
    (lambda e: replace(e, path="a\\b"), InvalidPath),
    (lambda e: replace(e, path="a" * 2000), InvalidPath),
    (lambda e: replace(e, size_bytes=None), InvalidEntry),
    (lambda e: replace(e, size_bytes=-5), InvalidEntry),
    (lambda e: replace(e, size_bytes=7), InvalidEntry),
    (lambda e: replace(e, segments=()), InvalidEntry),
    (lambda e: replace(e, size_bytes=0, segments=()), InvalidEntry),
    (lambda e: replace(e, segments=(Segment(e.digest, -1, e.size_bytes),)), InvalidEntry),
    (lambda e: replace(e, segments=(Segment(e.digest, 1 << 33, e.size_bytes),)), InvalidEntry),
    (lambda e: replace(e, reference=Reference("s3://b/k")), InvalidEntry),
    (lambda e: replace(e, segments=(), reference=Reference("https://user:pw@host/x")), InvalidReference),
    (lambda e: replace(e, segments=(), reference=Reference("nothing")), InvalidReference),
]


@pytest.mark.parametrize(("spoil", "error"), BAD)
async def test_bad_entries_are_refused(rig: Rig, spoil: object, error: type[Exception]) -> None:
    """SEM-7, SEM-32, I11; nothing of the batch is kept."""
    draft = await rig.draft()
    with pytest.raises(error):
        await rig.add(draft, [rig.file("good", b"1"), spoil(rig.file("w", b"12345"))])  # type: ignore[operator]
    assert await kept(rig) == 0


def long_file(rig: Rig, path: str, count: int) -> Entry:
    """A file of many segments of one byte, of one chunk that is larger than the file."""
    data = bytes(i % 251 for i in range(count))
    chunk = rig.put(data + b"!")
    segments = tuple(Segment(chunk, i, 1) for i in range(count))
    return Entry(path, Digest.of(data), count, False, segments)


@pytest.mark.parametrize("count", [1, 1024, 1025, 5000])
async def test_a_long_entry_may_come_in_parts_or_at_once(rig: Rig, count: int) -> None:
    """However it is cut into messages, it is the same line and the same version."""
    entry = long_file(rig, "long", count)
    at_once = await rig.draft([entry])
    in_parts = await rig.draft()
    step = max(1, count // 7)
    cuts = [entry.segments[start : start + step] for start in range(0, count, step)]
    messages = [[part(entry, cuts[0], continued=len(cuts) > 1)]]
    messages += [[more(entry, cut, continued=i < len(cuts) - 1)] for i, cut in enumerate(cuts[1:], 1)]
    assert await rig.drafts.add_entries(CALLER, in_parts, stream(*messages)) == 1
    pages = 1 + (0 if count <= 1024 else -(-count // 1024))
    assert await rig.count(DraftPageRow) == 2 * pages
    assert await rig.count(PageRow) == pages
    first, second = await rig.commit(at_once), await rig.commit(in_parts)
    assert second.deduplicated
    assert first.version.stored_bytes == count


async def test_a_broken_stream_leaves_no_part_of_an_entry(rig: Rig) -> None:
    """I3: it is simply sent again."""
    entry = long_file(rig, "long", 3000)
    draft = await rig.draft()
    with pytest.raises(InvalidEntry, match="ended before 'long' was complete"):
        await rig.drafts.add_entries(CALLER, draft, stream([part(entry, entry.segments[:2000], continued=True)]))
    assert await kept(rig) == 0
    await rig.add(draft, [entry])
    assert (await rig.commit(draft)).version.stored_bytes == 3000


async def test_parts_must_fit_together(rig: Rig) -> None:
    draft = await rig.draft()
    one, two = long_file(rig, "one", 10), long_file(rig, "two", 10)
    reference = Entry("ref", EMPTY, None, reference=Reference("s3://b/k"))
    head = part(one, one.segments[:5], continued=True)
    for parts in (
        [more(one, one.segments)],
        [head, part(two)],
        [head, more(two, one.segments[5:])],
        [head, more(one, one.segments[5:9])],
        [head, more(one, (*one.segments[5:], one.segments[0]))],
        [head, more(one, (Segment(one.digest, 0, 0),))],
        [part(reference, one.segments, continued=True), more(reference, ())],
    ):
        with pytest.raises(InvalidEntry):
            await rig.drafts.add_entries(CALLER, draft, stream(parts))
    assert await kept(rig) == 0


async def test_limits_of_messages_and_versions(rig: Rig) -> None:
    """SEM-27, M-DOS-1: what GetCapabilities says is enforced."""
    rig.use(Limits(max_entries=3, max_entries_per_message=2, max_segments_per_message=5))
    draft = await rig.draft()
    entries = [rig.file(f"f{i}", b"1") for i in range(4)]
    with pytest.raises(LimitExceeded, match="3 entries"):
        await rig.drafts.add_entries(CALLER, draft, stream([part(entry) for entry in entries[:3]]))
    with pytest.raises(LimitExceeded, match="6 segments"):
        await rig.drafts.add_entries(CALLER, draft, stream([part(long_file(rig, "long", 6))]))
    messages = [[part(entry)] for entry in entries]
    assert await rig.drafts.add_entries(CALLER, draft, stream(*messages[:3])) == 3
    assert await rig.drafts.add_entries(CALLER, draft, stream(*messages[:3])) == 3
    with pytest.raises(LimitExceeded, match="at most 3 entries"):
        await rig.drafts.add_entries(CALLER, draft, stream(messages[3]))


async def test_a_batch_takes_a_few_statements(rig: Rig) -> None:
    """No statement per entry."""
    draft = await rig.draft()
    entries = [rig.file(f"f{i:04}", b"1") for i in range(1000)]
    with rig.statements() as statements:
        await rig.add(draft, entries)
    assert len([one for one in statements if not one.startswith(("BEGIN", "COMMIT", "ROLLBACK"))]) <= 8


async def test_who_may_see_and_fill_a_draft(rig: Rig) -> None:
    from modelkeep.errors import PermissionDenied

    draft = await rig.draft()
    for attempt in (
        rig.drafts.get_draft(OTHER, draft),
        rig.drafts.add_entries(OTHER, draft, stream()),
        rig.drafts.abort_draft(call(caller=OTHER), draft),
        rig.drafts.create_draft(call(caller=OTHER), ProjectName("acme", "vision"), DIGITS, "model"),
    ):
        with pytest.raises(PermissionDenied):
            await attempt
