"""Committing: numbers, dedup, aliases, answers (SEM-8 to 14, 24)."""

from dataclasses import replace

import pytest
from modelkeep.digest import Digest
from modelkeep.errors import (
    ChunksMissing,
    DigestMismatch,
    DraftCommitted,
    DraftNotFound,
    InvalidEntry,
    InvalidPath,
    LimitExceeded,
    PermissionDenied,
)
from modelkeep.manifest import Entry, Reference, Segment, manifest_digest
from modelkeep.names import DraftName, RunName
from modelkeep_server.metadata.app.lines import PAGES_AT_ONCE
from modelkeep_server.metadata.domain.draft import Commit, DraftState
from modelkeep_server.metadata.domain.event import CollectionCreated, VersionCommitted
from modelkeep_server.metadata.domain.version import VersionState
from modelkeep_server.metadata.store.tables import DraftEntryRow, DraftPageRow, PageRow, VersionRow

from tests.unit.metadata.rig import CALLER, DIGITS, OTHER, Rig, call

RUN = RunName("acme", "vision", "r1")


async def test_a_commit_gives_the_first_number_and_all_words(rig: Rig) -> None:
    """SEM-9, SEM-10, SEM-15."""
    files = {"a/b": b"one", "a-b": b"two", "c": b""}
    committed = await rig.log(
        files,
        aliases=("best",),
        tags=("x y", "z"),
        description="d",
        notes="n",
        metadata_json='{"a":1}',
        run=RUN,
        run_display_name="fox",
    )
    version = committed.version
    assert version.name == DIGITS.version(0)
    assert version.digest == manifest_digest(rig.file(path, data) for path, data in files.items())
    assert (version.tags, version.aliases) == (("x y", "z"), ("best", "latest"))
    assert (version.description, version.notes, version.metadata_json) == ("d", "n", '{"a":1}')
    assert (version.entry_count, version.stored_bytes, version.referenced_bytes) == (3, 6, 0)
    assert (version.creator, version.run, version.run_display_name) == (CALLER.actor, str(RUN), "fox")
    assert version.state is VersionState.COMMITTED
    assert not committed.deduplicated
    assert await rig.versions.get_version(CALLER, version.name, show_deleted=False) == version


async def test_a_commit_says_what_happened_in_order(rig: Rig) -> None:
    """SEM-58: the project, the collection, the version, its aliases; numbers without a gap."""
    committed = await rig.log(aliases=("best", "fast"), run=RUN, run_display_name="fox")
    events = await rig.events()
    assert [event.sequence for event in events] == [1, 2, 3, 4, 5]
    assert await rig.happenings() == ["ProjectCreated", "CollectionCreated", "VersionCommitted", "AliasMoved", "AliasMoved"]
    uid = (await rig.collections.get_collection(CALLER, DIGITS)).uid
    assert events[1].happening == CollectionCreated(str(DIGITS), "model", uid)
    version = committed.version
    assert events[2].happening == VersionCommitted(
        str(version.name),
        version.uid,
        str(version.digest),
        "model",
        deduplicated=False,
        run=str(RUN),
        run_display_name="fox",
        collection_uid=uid,
    )


async def test_content_that_is_there_already_is_answered_with_its_version(rig: Rig) -> None:
    """SEM-11: named aliases move, `latest` does not, words are left out and that is said; the edge is recorded."""
    first = await rig.log({"w": b"1"}, aliases=("best",), description="first")
    await rig.log({"w": b"2"}, aliases=("best",))
    again = await rig.log({"w": b"1"}, aliases=("best", "old"), tags=("t",), description="second", run=RUN)
    assert again.deduplicated
    assert again.ignored_fields == ("tags", "description")
    assert again.version.name == first.version.name
    assert again.version.aliases == ("best", "old")
    assert (again.version.description, again.version.tags) == ("first", ())
    latest = await rig.versions.get_version(CALLER, DIGITS.version(1), show_deleted=False)
    assert latest.aliases == ("latest",)
    happened = [event.happening for event in await rig.events()]
    last = next(fact for fact in reversed(happened) if isinstance(fact, VersionCommitted))
    assert (last.deduplicated, last.run, last.version) == (True, str(RUN), str(first.version.name))


async def test_a_deleted_digest_gets_a_new_number_and_none_is_used_twice(rig: Rig) -> None:
    """SEM-9, SEM-12, I5."""
    await rig.log({"w": b"1"})
    await rig.versions.delete_version(call("DeleteVersion"), DIGITS.version(0), "", delete_aliases=False)
    again = await rig.log({"w": b"1"})
    assert (again.version.name.number, again.deduplicated) == (1, False)


async def test_a_failed_commit_uses_no_number(rig: Rig) -> None:
    """SEM-9, I3: nothing of it is seen."""
    missing = Entry("w", Digest.of(b"x"), 1, False, (Segment(Digest.of(b"x"), 0, 1),))
    draft = await rig.draft([missing])
    with pytest.raises(ChunksMissing) as raised:
        await rig.commit(draft)
    assert raised.value.metadata == {"digests": str(Digest.of(b"x")), "count": "1"}
    assert await rig.count(VersionRow) == 0
    rig.put(b"x")
    assert (await rig.commit(draft)).version.name.number == 0


async def test_missing_chunks_are_counted_and_the_first_named(rig: Rig) -> None:
    datas = [str(i).encode() for i in range(1500)]
    entries = [
        Entry(f"f{i:04}", Digest.of(data), len(data), False, (Segment(Digest.of(data), 0, len(data)),))
        for i, data in enumerate(datas)
    ]
    draft = await rig.draft(entries)
    with pytest.raises(ChunksMissing) as raised:
        await rig.commit(draft)
    assert raised.value.metadata["count"] == "1500"
    assert len(raised.value.metadata["digests"].split(",")) == 40
    assert rig.chunks.batches == [1000, 500]


async def test_chunks_of_another_team_are_missing(rig: Rig) -> None:
    """SEM-22, I9: knowing a digest is not holding its bytes."""
    digest = rig.chunks.put(b"secret", team="rivals")
    draft = await rig.draft([Entry("w", digest, 6, False, (Segment(digest, 0, 6),))])
    with pytest.raises(ChunksMissing):
        await rig.commit(draft)


async def test_a_segment_must_lie_within_its_chunk(rig: Rig) -> None:
    """I2."""
    chunk = rig.put(b"12345")
    draft = await rig.draft([Entry("w", Digest.of(b"x"), 5, False, (Segment(chunk, 1, 5),))])
    with pytest.raises(InvalidEntry, match="up to byte 6"):
        await rig.commit(draft)


@pytest.mark.parametrize(("digest", "length"), [(Digest.of(b"other"), 5), (Digest.of(b"12345"), 4)])
async def test_a_file_of_one_chunk_has_the_digest_of_that_chunk_or_is_a_part_of_it(
    rig: Rig, digest: Digest, length: int
) -> None:
    """SEM-24: what can be proven wrong now is refused now."""
    chunk = rig.put(b"12345")
    draft = await rig.draft([Entry("w", digest, length, False, (Segment(chunk, 0, length),))])
    with pytest.raises(DigestMismatch):
        await rig.commit(draft)


async def test_a_version_of_whole_chunks_is_verified_at_once_others_are_claims(rig: Rig) -> None:
    """SEM-24."""
    whole = await rig.log({"a": b"1", "empty": b""})
    assert whole.version.verified_time == whole.version.create_time
    cut = await rig.commit(await rig.draft([rig.file("a", b"1"), rig.cut_file("b", b"2", b"3")]))
    assert cut.version.verified_time is None


async def test_an_unverified_version_counts_only_if_the_same_bytes_stand_behind_it(rig: Rig) -> None:
    """SEM-13, SEM-24: another layout gets a number of its own, which is no target; the same layout is found again."""
    one = rig.cut_file("w", b"12", b"34")
    two = rig.cut_file("w", b"1", b"234")
    assert (await rig.commit(await rig.draft([one]))).version.name.number == 0
    twin = await rig.commit(await rig.draft([two]))
    assert (twin.version.name.number, twin.deduplicated) == (1, False)
    assert (await rig.commit(await rig.draft([one]))).version.name.number == 0
    assert (await rig.commit(await rig.draft([two]))).version.name.number == 1
    targets = await rig.transactions.read(lambda work: work.versions.target(DIGITS, twin.version.digest))
    assert targets == DIGITS.version(0)


async def test_a_verified_version_counts_for_any_layout(rig: Rig) -> None:
    """SEM-24."""
    await rig.log({"w": b"1234"})
    again = await rig.commit(await rig.draft([rig.cut_file("w", b"12", b"34")]))
    assert (again.version.name.number, again.deduplicated) == (0, True)


async def test_when_a_reference_was_checked_does_not_matter(rig: Rig) -> None:
    """SEM-10, SEM-24, SEM-28, SEM-36: it is kept, but is no part of the identity."""

    def entries(checked: int) -> list[Entry]:
        reference = Reference("s3://bucket/key", checked_micros=checked)
        return [Entry("ref", Digest.of(b"s3://bucket/key"), 7, reference=reference), rig.cut_file("w", b"1", b"2")]

    first = await rig.commit(await rig.draft(entries(1)))
    again = await rig.commit(await rig.draft(entries(2)))
    assert (first.version.stored_bytes, first.version.referenced_bytes) == (2, 7)
    assert (again.deduplicated, again.version.name) == (True, first.version.name)


async def test_paths_that_collide_are_refused(rig: Rig) -> None:
    """SEM-7."""
    draft = await rig.draft([rig.file("a", b"1"), rig.file("a-b", b"2"), rig.file("a/b", b"3")])
    with pytest.raises(InvalidPath) as raised:
        await rig.commit(draft)
    assert raised.value.metadata == {"path": "a/b", "other": "a"}


async def test_a_version_may_be_empty(rig: Rig) -> None:
    committed = await rig.log({})
    assert (committed.version.entry_count, committed.version.digest) == (0, manifest_digest([]))
    assert (await rig.log({})).deduplicated


async def test_a_draft_commits_once(rig: Rig) -> None:
    """SEM-14: the same body, the same answer; another body is refused."""
    draft = await rig.draft([rig.file("w", b"1")])
    first = await rig.commit(draft, aliases=("best",))
    assert await rig.commit(draft, aliases=("best",)) == first
    with pytest.raises(DraftCommitted) as raised:
        await rig.commit(draft, aliases=("other",))
    assert raised.value.metadata["version"] == str(first.version.name)
    assert (await rig.drafts.get_draft(CALLER, draft)).state is DraftState.COMMITTED


async def test_the_answer_to_a_commit_stays_after_the_version_is_deleted(rig: Rig) -> None:
    """SEM-14."""
    draft = await rig.draft([rig.file("w", b"1")])
    first = await rig.commit(draft)
    await rig.versions.delete_version(call("DeleteVersion"), first.version.name, "", delete_aliases=False)
    again = await rig.commit(draft)
    assert again.version.uid == first.version.uid
    assert again.version.state is VersionState.DELETED


async def test_a_renamed_collection_takes_its_drafts_along(rig: Rig) -> None:
    draft = await rig.draft([rig.file("w", b"1")])
    new = replace(DIGITS, collection="numbers")
    await rig.collections.rename_collection(call("RenameCollection"), DIGITS, new)
    assert (await rig.commit(draft)).version.name == new.version(0)


async def test_entries_of_an_ended_draft_are_dropped_and_pages_stay(rig: Rig) -> None:
    await rig.log()
    assert await rig.count(DraftEntryRow) == await rig.count(DraftPageRow) == 0
    assert await rig.count(PageRow) == 1


async def test_who_may_commit(rig: Rig) -> None:
    draft = await rig.draft([rig.file("w", b"1")])
    with pytest.raises(PermissionDenied):
        await rig.commits.commit_draft(OTHER, draft, Commit())
    with pytest.raises(PermissionDenied, match="rivals"):
        await rig.commit(draft, run=RunName("rivals", "p", "r"))
    with pytest.raises(DraftNotFound):
        await rig.commit(DraftName("acme", "elsewhere", draft.draft))


async def test_limits_of_a_commit(rig: Rig) -> None:
    """SEM-27."""
    draft = await rig.draft()
    for field in ("aliases", "tags"):
        with pytest.raises(LimitExceeded):
            await rig.commit(draft, **{field: tuple(f"x{i}" for i in range(101))})


async def test_a_commit_reads_each_page_once(rig: Rig) -> None:
    """P13: it is sealed and confirmed in one pass; pages that stand as they are are not written again."""
    draft = await rig.draft([rig.file(f"f{i:05}", b"same") for i in range(3000)])
    runs = await rig.count(DraftPageRow)
    with rig.statements() as statements:
        await rig.commit(draft)
    assert sum("FROM page" in statement for statement in statements) == -(-runs // PAGES_AT_ONCE)
    assert sum(statement.startswith("INSERT INTO page ") for statement in statements) == 0
    assert rig.chunks.batches == [1]


async def test_one_statement_more_or_less_does_not_depend_on_the_size(rig: Rig) -> None:
    """P13: the transaction that holds the lock of the collection has fewer than 20 statements."""
    small = await rig.draft([rig.file("w", b"1")])
    large = await rig.draft([rig.file(f"f{i:05}", b"same") for i in range(3000)])
    counts = []
    for draft in (small, large):
        with rig.statements() as statements:
            await rig.commit(draft, aliases=tuple(f"a{i}" for i in range(50)), tags=tuple(f"t{i}" for i in range(50)))
        begin = next(i for i, statement in enumerate(statements) if "version.is_target" in statement and "LIMIT" in statement)
        end = next(i for i, statement in enumerate(statements) if statement.startswith("INSERT INTO event "))
        counts.append(end - begin + 1)
    assert counts[0] == counts[1] < 18
