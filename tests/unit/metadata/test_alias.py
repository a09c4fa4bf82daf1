"""Aliases: batches with expectations, and a history for ever (SEM-4, 16 to 19; I6)."""

import asyncio
from datetime import timedelta
from itertools import pairwise

import pytest
from modelkeep.errors import (
    AliasChanged,
    AliasNotFound,
    CollectionNotFound,
    InvalidAlias,
    InvalidArgument,
    LimitExceeded,
    PermissionDenied,
    ProjectNotFound,
    VersionDeleted,
    VersionNotFound,
)
from modelkeep.names import CollectionName, VersionName
from modelkeep_server.database.paging import Page
from modelkeep_server.metadata.domain import alias as rules
from modelkeep_server.metadata.domain.alias import Alias, AliasChange, AliasMove
from modelkeep_server.metadata.domain.event import AliasMoved
from modelkeep_server.metadata.store.tables import AliasChangeRow

from tests.unit.metadata.rig import CALLER, DIGITS, OTHER, Rig, call

BEST = DIGITS.alias("best")


async def logged(rig: Rig, count: int = 2) -> list[VersionName]:
    return [(await rig.log()).version.name for _ in range(count)]


async def move(rig: Rig, *moves: AliasMove, reason: str = "") -> tuple[Alias, ...]:
    return await rig.aliases.move_aliases(call("MoveAliases"), DIGITS, moves, reason)


async def history(rig: Rig, alias: str = "", size: int = 50) -> list[AliasChange]:
    """All of it, page by page."""
    changes: list[AliasChange] = []
    page = Page(size)
    while True:
        listing = await rig.aliases.list_alias_history(CALLER, DIGITS, alias, page)
        changes += listing.items
        if not listing.next_token:
            return changes
        page = Page(size, listing.next_token)


async def test_set_move_and_delete_each_append_a_line(rig: Rig) -> None:
    """SEM-16."""
    v0, v1 = await logged(rig)
    (first,) = await move(rig, AliasMove("best", v0), reason="eval 1")
    (second,) = await move(rig, AliasMove("best", v1), reason="eval 2")
    (third,) = await move(rig, AliasMove("best", None))
    assert [(a.version, a.seq, a.reason) for a in (first, second, third)] == [
        (v0, 1, "eval 1"),
        (v1, 2, "eval 2"),
        (None, 3, ""),
    ]
    assert first.actor == CALLER.actor
    lines = await history(rig, "best")
    assert [(line.seq, line.from_version, line.to_version) for line in lines] == [(3, v1, None), (2, v0, v1), (1, None, v0)]
    assert [line.result for line in reversed(lines)] == [first, second, third]
    moved = [event.happening for event in await rig.events() if isinstance(event.happening, AliasMoved)]
    uid = (await rig.collections.get_collection(CALLER, DIGITS)).uid
    assert moved[1] == AliasMoved(str(BEST), 2, str(v0), str(v1), "eval 2", uid)
    assert [one.seq for one in moved] == [1, 2, 3]


async def test_the_number_never_falls_not_even_over_a_delete(rig: Rig) -> None:
    """SEM-16, I6."""
    v0, v1 = await logged(rig)
    await move(rig, AliasMove("best", v0))
    await move(rig, AliasMove("best", None))
    (again,) = await move(rig, AliasMove("best", v1, must_not_exist=True))
    assert (again.seq, again.version) == (3, v1)
    assert [line.from_version for line in await history(rig, "best")] == [None, v0, None]


async def test_a_set_to_where_it_points_is_no_change(rig: Rig) -> None:
    v0, _ = await logged(rig)
    (first,) = await move(rig, AliasMove("best", v0), reason="one")
    (same,) = await move(rig, AliasMove("best", v0), reason="two")
    assert same == first
    assert await rig.count(AliasChangeRow) == 1


async def test_stamps_rise_although_the_clock_falls(rig: Rig) -> None:
    """SEM-16: greatest(database clock, previous stamp + 1 µs)."""
    v0, v1 = await logged(rig)
    (first,) = await move(rig, AliasMove("best", v0))
    rig.clock.offset = timedelta(hours=-1)
    (second,) = await move(rig, AliasMove("best", v1))
    (third,) = await move(rig, AliasMove("best", v0))
    assert second.update_time == first.update_time + timedelta(microseconds=1)
    assert third.update_time == first.update_time + timedelta(microseconds=2)


async def test_a_stale_expectation_tells_the_current_value(rig: Rig) -> None:
    """SEM-17."""
    v0, v1 = await logged(rig)
    await move(rig, AliasMove("best", v0))
    for stale in (AliasMove("best", v1, v1), AliasMove("best", None, v1), AliasMove("best", v1, must_not_exist=True)):
        with pytest.raises(AliasChanged, match="digits:v0") as raised:
            await move(rig, stale)
        assert raised.value.metadata == {"alias": "best", "current": str(v0)}
    with pytest.raises(AliasChanged, match="does not exist") as raised:
        await move(rig, AliasMove("new", v1, v0))
    assert raised.value.metadata["current"] == ""
    (moved,) = await move(rig, AliasMove("best", v1, v0))
    assert moved.version == v1


async def test_a_batch_is_all_or_nothing(rig: Rig) -> None:
    """SEM-17, I3."""
    v0, v1 = await logged(rig)
    await move(rig, AliasMove("a", v0), AliasMove("b", v0))
    with pytest.raises(AliasChanged):
        await move(rig, AliasMove("a", v1), AliasMove("b", v1, v1), AliasMove("c", v1))
    assert [alias.version for alias in (await rig.aliases.list_aliases(CALLER, DIGITS, Page())).items] == [v0, v0]
    done = await move(rig, AliasMove("c", v1), AliasMove("b", None), AliasMove("a", v1, v0))
    assert [(alias.name.alias, alias.version) for alias in done] == [("c", v1), ("b", None), ("a", v1)]
    assert [alias.name.alias for alias in (await rig.aliases.list_aliases(CALLER, DIGITS, Page())).items] == ["a", "c"]


async def test_of_many_with_the_same_expectation_exactly_one_wins(rig: Rig) -> None:
    """SEM-17, I6, R6."""
    v0, *others = await logged(rig, 9)
    await move(rig, AliasMove("best", v0))
    attempts = [move(rig, AliasMove("best", version, v0)) for version in others]
    results = await asyncio.gather(*attempts, return_exceptions=True)
    winners = [result for result in results if not isinstance(result, BaseException)]
    assert len(winners) == 1
    losers = [result for result in results if isinstance(result, BaseException)]
    assert {type(loser) for loser in losers} == {AliasChanged}
    (alias,) = winners[0]
    assert {loser.metadata["current"] for loser in losers if isinstance(loser, AliasChanged)} == {str(alias.version)}
    assert await rig.aliases.get_alias(CALLER, BEST) == alias


async def test_of_many_creators_exactly_one_wins(rig: Rig) -> None:
    versions = await logged(rig, 6)
    attempts = [move(rig, AliasMove("best", version, must_not_exist=True)) for version in versions]
    results = await asyncio.gather(*attempts, return_exceptions=True)
    assert sorted(type(result).__name__ for result in results) == ["AliasChanged"] * 5 + ["tuple"]


async def test_moves_at_once_form_one_line_of_history(rig: Rig) -> None:
    """SEM-16, R6: each line begins where the one before it ended; stamps and numbers rise, in batches of crossing order too."""
    versions = await logged(rig, 4)
    batches = [(AliasMove("a", versions[i % 4]), AliasMove("b", versions[(i + 1) % 4])) for i in range(24)]
    await asyncio.gather(*(move(rig, *(batch if i % 2 else reversed(batch))) for i, batch in enumerate(batches)))
    for name in ("a", "b"):
        lines = list(reversed(await history(rig, name, size=5)))
        assert [line.seq for line in lines] == list(range(1, len(lines) + 1))
        assert [line.from_version for line in lines] == [None, *(line.to_version for line in lines[:-1])]
        times = [line.change_time for line in lines]
        assert all(earlier < later for earlier, later in pairwise(times))
        assert (await rig.aliases.get_alias(CALLER, DIGITS.alias(name))).version == lines[-1].to_version


@pytest.mark.parametrize("count", [1, 60])
async def test_a_batch_is_four_statements_of_its_own(rig: Rig, count: int) -> None:
    """SEM-27; besides them: two of the request's memory, the lock and the rules, and two of the events."""
    v0, v1 = await logged(rig)
    await move(rig, *(AliasMove(f"a{i}", v0) for i in range(count)))
    with rig.statements() as seen:
        await move(rig, *(AliasMove(f"a{i}", v1) for i in range(count)))
    assert len([one for one in seen if not one.startswith(("BEGIN", "SAVEPOINT"))]) == 4 + 2 + 2 + 2


async def test_the_history_of_all_aliases_newest_first_by_pages(rig: Rig) -> None:
    v0, v1 = await logged(rig)
    await move(rig, *(AliasMove(f"a{i}", v0) for i in range(5)))
    await move(rig, *(AliasMove(f"a{i}", v1) for i in range(3)))
    for size in (1, 3, 50):
        lines = await history(rig, size=size)
        assert len({(line.alias, line.seq) for line in lines}) == 8
        assert [line.seq for line in lines] == [2] * 3 + [1] * 5
    assert [line.seq for line in await history(rig, "a1", size=1)] == [2, 1]


async def test_aliases_are_listed_by_pages(rig: Rig) -> None:
    v0, _ = await logged(rig)
    await move(rig, *(AliasMove(f"a{i}", v0) for i in range(5)))
    first = await rig.aliases.list_aliases(CALLER, DIGITS, Page(3))
    second = await rig.aliases.list_aliases(CALLER, DIGITS, Page(3, first.next_token))
    assert [alias.name.alias for alias in (*first.items, *second.items)] == ["a0", "a1", "a2", "a3", "a4"]
    assert second.next_token == ""


async def test_a_missing_alias_names_what_exists_and_what_is_nearest(rig: Rig) -> None:
    v0, _ = await logged(rig)
    await move(rig, *(AliasMove(alias, v0) for alias in ("production", "best")))
    with pytest.raises(AliasNotFound, match=r"did you mean 'production'\? There are: best, production") as raised:
        await rig.aliases.get_alias(CALLER, DIGITS.alias("prodction"))
    assert raised.value.metadata["nearest"] == "production"
    await move(rig, AliasMove("best", None))
    with pytest.raises(AliasNotFound):
        await rig.aliases.get_alias(CALLER, BEST)
    with pytest.raises(AliasNotFound, match=r"did you mean 'production'\? There are: production") as raised:
        await move(rig, AliasMove("prodution", None))
    assert raised.value.metadata["nearest"] == "production"
    with pytest.raises(AliasNotFound):
        await history(rig, "never")
    assert len(await history(rig, "best")) == 2  # history is kept for ever


@pytest.mark.peer("M-DOS-1")
async def test_an_error_shows_a_bounded_number_of_names(rig: Rig) -> None:
    """M-DOS-1."""
    v0, _ = await logged(rig)
    await move(rig, *(AliasMove(f"alias-{i:03}", v0) for i in range(60)))
    with pytest.raises(AliasNotFound) as raised:
        await rig.aliases.get_alias(CALLER, DIGITS.alias("zzz"))
    assert raised.value.message.count("alias-") == 20
    assert raised.value.message.endswith("…")


async def test_what_an_alias_may_point_to(rig: Rig) -> None:
    v0, v1 = await logged(rig)
    with pytest.raises(VersionNotFound, match="v7"):
        await move(rig, AliasMove("best", DIGITS.version(7)))
    await rig.versions.delete_version(call("DeleteVersion"), v0, "bad data", delete_aliases=False)
    with pytest.raises(VersionDeleted, match="bad data"):
        await move(rig, AliasMove("good", v1), AliasMove("best", v0))
    assert await rig.count(AliasChangeRow) == 0
    elsewhere = CollectionName(DIGITS.team, DIGITS.project, "other").version(0)
    for bad in (AliasMove("best", elsewhere), AliasMove("best", v1, elsewhere), AliasMove("best", None, must_not_exist=True)):
        with pytest.raises(InvalidArgument):
            await move(rig, bad)


@pytest.mark.parametrize(
    "alias", ["latest", "v1", "V12", "", " a", "a ", "a/b", "a:b", "a@b", "a#b", "a?b", "a%b", "a\n", "x" * 129]
)
async def test_what_is_no_alias(rig: Rig, alias: str) -> None:
    """SEM-4, SEM-18: nobody sets `latest` by hand."""
    with pytest.raises(InvalidAlias):
        await move(rig, AliasMove(alias, DIGITS.version(0)))


@pytest.mark.parametrize("alias", ["V", "vv1", "1", "v1-rc", "Best of 7", "x" * 128, "größe", "a.b_c-d", "e" + "\u0301"])
async def test_what_is_an_alias(rig: Rig, alias: str) -> None:
    v0, _ = await logged(rig)
    (moved,) = await move(rig, AliasMove(alias, v0))
    assert await rig.aliases.get_alias(CALLER, DIGITS.alias(alias)) == moved


async def test_the_bounds_of_a_batch(rig: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    v0, v1 = await logged(rig)
    too_many = [AliasMove(f"a{i}", v0) for i in range(rig.limits.max_aliases + 1)]
    for bad, error in (
        (too_many, LimitExceeded),
        ([], InvalidArgument),
        ([AliasMove("a", v0), AliasMove("a", v1)], InvalidArgument),
    ):
        with pytest.raises(error):
            await move(rig, *bad)
    for reason in ("x" * 1025, "é" * 513, "nul\0"):
        with pytest.raises(InvalidArgument):
            await move(rig, AliasMove("a", v0), reason=reason)
    monkeypatch.setattr("modelkeep_server.metadata.store.alias.MAX_ON_ONE_VERSION", 3)
    await move(rig, *(AliasMove(f"a{i}", v0) for i in range(3)))
    with pytest.raises(LimitExceeded, match="more than 3 aliases"):
        await move(rig, AliasMove("one-more", v0))
    assert rules.MAX_ON_ONE_VERSION == 1000


async def test_what_is_missing_around_an_alias(rig: Rig) -> None:
    await logged(rig, 1)
    near = CollectionName(DIGITS.team, DIGITS.project, "digit")
    with pytest.raises(CollectionNotFound, match="digits"):
        await rig.aliases.list_aliases(CALLER, near, Page())
    with pytest.raises(CollectionNotFound):
        await rig.aliases.list_alias_history(CALLER, near, "", Page())
    with pytest.raises(CollectionNotFound):
        await rig.aliases.get_alias(CALLER, near.alias("best"))
    with pytest.raises(ProjectNotFound, match="vision"):
        await rig.aliases.move_aliases(
            call(),
            CollectionName(DIGITS.team, "vison", "digits"),
            [AliasMove("a", CollectionName(DIGITS.team, "vison", "digits").version(0))],
            "",
        )
    assert (await rig.aliases.list_aliases(CALLER, DIGITS, Page())).items == ()
    assert await history(rig) == []


@pytest.mark.peer("M-AUTHZ-1")
async def test_another_team_learns_nothing(rig: Rig) -> None:
    """M-AUTHZ-1: the same answer whether it exists or not."""
    v0, _ = await logged(rig)
    await move(rig, AliasMove("best", v0))
    nowhere = CollectionName(DIGITS.team, "no", "where")
    attempts = [
        lambda c: rig.aliases.get_alias(OTHER, c.alias("best")),
        lambda c: rig.aliases.list_aliases(OTHER, c, Page()),
        lambda c: rig.aliases.list_alias_history(OTHER, c, "", Page()),
        lambda c: rig.aliases.move_aliases(call(caller=OTHER), c, [AliasMove("best", c.version(0))], ""),
    ]
    for attempt in attempts:
        messages: set[str] = set()
        for collection in (DIGITS, nowhere):
            with pytest.raises(PermissionDenied) as raised:
                await attempt(collection)
            messages.add(raised.value.message)
        assert len(messages) == 1
