"""From addresses to versions (SEM-3, 16, 18, 40)."""

import asyncio
from datetime import UTC, datetime, timedelta

import pytest
from modelkeep.errors import (
    AliasNotFound,
    CollectionNotFound,
    DigestAmbiguous,
    InvalidAddress,
    ModelkeepError,
    PermissionDenied,
    ProjectNotFound,
    TeamNotFound,
    VersionDeleted,
    VersionNotFound,
)
from modelkeep.names import CollectionName, ProjectName
from modelkeep_server.database.clock import to_micros
from modelkeep_server.database.lookups import MAX_KEYS
from modelkeep_server.metadata.app.resolution import ResolutionApp
from modelkeep_server.metadata.domain.version import Version
from modelkeep_server.metadata.store.tables import VersionRow
from modelkeep_server.runtime.callers import Access, Caller, Role
from sqlalchemy import text, update
from sqlmodel import col

from tests.unit.metadata.rig import CALLER, DIGITS, OTHER, PROJECT, Rig, call

READER = Caller("teams/rivals/apiKeys/k3", "rivals", Role.READ, frozenset({"acme"}), access=Access.READ)


async def resolve(rig: Rig, address: str, caller: Caller = CALLER) -> Version:
    return await ResolutionApp(rig.transactions).resolve(caller, PROJECT, address)


async def delete(rig: Rig, number: int, reason: str = "") -> None:
    await rig.versions.delete_version(call("DeleteVersion"), DIGITS.version(number), reason, delete_aliases=True)


async def restore(rig: Rig, number: int) -> None:
    await rig.versions.restore_version(call("RestoreVersion"), DIGITS.version(number))


async def now(rig: Rig) -> str:
    """The present moment, as an address writes it."""
    moment: datetime = await rig.transactions.read(lambda work: work.now())
    return moment.isoformat().replace("+00:00", "Z")


async def test_each_way_to_name_a_version(rig: Rig) -> None:
    """SEM-3."""
    v0 = (await rig.log(aliases=("best", "old"), tags=("b", "a"))).version
    v1 = (await rig.log()).version
    assert await resolve(rig, "digits:v0") == await resolve(rig, "digits:best") == await resolve(rig, f"digits@{v0.digest}")
    found = await resolve(rig, f"digits@{str(v0.digest)[:15]}")
    assert (found.name, found.aliases, found.tags) == (v0.name, ("best", "old"), ("a", "b"))
    assert await resolve(rig, "digits") == await resolve(rig, "digits:latest") == v1
    assert await resolve(rig, "acme/vision/digits:latest") == await resolve(rig, "vision/digits") == v1
    assert v1.aliases == ("latest",)


async def test_a_resolve_is_one_statement(rig: Rig) -> None:
    """P10."""
    digest = (await rig.log(aliases=("best",), tags=("x", "y"))).version.digest
    for address in ("digits", "digits:best", "digits:v0", f"digits@{digest}", "digits:best@2999-01-01", "digits@2999-01-01"):
        with rig.statements() as seen:
            await resolve(rig, address)
        assert len(seen) == 1  # without a BEGIN, too


async def test_many_resolves_at_once_are_few_statements(rig: Rig) -> None:
    """P10: what is asked in one turn of the loop is one statement, whoever asks and by whichever name."""
    await rig.log(aliases=("best",))
    v1 = (await rig.log(aliases=("new",))).version
    addresses = ["digits:best", "digits:v0", "digits:new", "digits:v1", "digits", "digits:latest"] * 50
    with rig.statements() as seen:
        found = await asyncio.gather(*(resolve(rig, address) for address in addresses))
    assert [version.name.number for version in found] == [0, 0, 1, 1, 1, 1] * 50
    assert found[2] == v1
    assert len(seen) == 1


async def test_different_resolves_at_once_are_a_bounded_number_of_statements(rig: Rig) -> None:
    count = 2 * MAX_KEYS + 1
    for number in range(3):
        await rig.log(aliases=tuple(f"a{alias}" for alias in range(number * MAX_KEYS, (number + 1) * MAX_KEYS)))
    with rig.statements() as seen:
        found = await asyncio.gather(*(resolve(rig, f"digits:a{alias}") for alias in range(count)))
    assert [version.name.number for version in found] == [alias // MAX_KEYS for alias in range(count)]
    assert len(seen) == 3


async def test_resolves_at_once_fail_apart(rig: Rig) -> None:
    """One bad address, and one caller without access, take nobody along."""
    await rig.log(aliases=("best",))
    await rig.log()
    await delete(rig, 1)
    wishes = [
        ("digits:best", CALLER),
        ("digits:bset", CALLER),
        ("digits:best", OTHER),
        ("digits:v1", CALLER),
        ("a/b/c/d", CALLER),
    ]
    wishes += [("nothing:best", CALLER), ("digits:best", READER)]
    found = await asyncio.gather(*(resolve(rig, *wish) for wish in wishes), return_exceptions=True)
    kinds = [Version, AliasNotFound, PermissionDenied, VersionDeleted, InvalidAddress, CollectionNotFound, Version]
    assert [type(one) for one in found] == kinds
    assert "did you mean 'best'" in str(found[1])


async def test_a_caller_that_leaves_takes_nobody_along(rig: Rig) -> None:
    await rig.log(aliases=("best",))
    tasks = [asyncio.create_task(resolve(rig, "digits:best")) for _ in range(4)]
    await asyncio.sleep(0)
    tasks[0].cancel()
    await asyncio.sleep(0)
    tasks[1].cancel()
    assert [(await task).name.number for task in tasks[2:]] == [0, 0]
    assert tasks[0].cancelled()
    assert tasks[1].cancelled()


async def test_each_caller_sees_what_it_committed(rig: Rig) -> None:
    """However many others ask for the same at the same time."""
    versions = [(await rig.log()).version.name for _ in range(4)]
    running = True

    async def others() -> None:
        while running:
            await asyncio.gather(*(resolve(rig, "digits:best") for _ in range(4)), return_exceptions=True)

    crowd = asyncio.create_task(others())
    for turn in range(24):
        await rig.move("best", versions[turn % 4])
        assert (await resolve(rig, "digits:best")).name == versions[turn % 4]
    running = False
    await crowd


async def test_no_statement_reads_a_whole_table(rig: Rig) -> None:
    """P10: every table that a resolve touches is entered by an index."""
    if not rig.database.is_sqlite:
        pytest.skip("PostgreSQL reads tiny tables whole, whatever the indexes")
    digest = (await rig.log(aliases=("best",))).version.digest
    plans: list[str] = []
    for address in ("digits", "digits:best", "digits:v0", f"digits@{digest}", "digits:best@2999-01-01", "digits@2999-01-01"):
        with rig.statements() as seen:
            await resolve(rig, address)
        (statement,) = seen
        async with rig.database.engine.connect() as connection:
            explained = await connection.exec_driver_sql(f"EXPLAIN QUERY PLAN {statement}", ("x",) * statement.count("?"))
            plans += [str(row[3]) for row in explained]
    assert [plan for plan in plans if plan.startswith("SCAN") and not plan.startswith("SCAN wanted VIRTUAL TABLE")] == []


async def test_latest_falls_when_the_newest_is_deleted_and_rises_when_it_is_back(rig: Rig) -> None:
    """SEM-18."""
    for _ in range(3):
        await rig.log()
    await delete(rig, 1)
    assert (await resolve(rig, "digits")).name.number == 2
    await delete(rig, 2)
    found = await resolve(rig, "digits")
    assert (found.name.number, found.aliases) == (0, ("latest",))
    await restore(rig, 1)
    assert (await resolve(rig, "digits")).name.number == 1
    for number in (0, 1):
        await delete(rig, number)
    with pytest.raises(VersionNotFound, match="all of them are deleted"):
        await resolve(rig, "digits")
    with pytest.raises(VersionNotFound, match="no v5 of 'digits'; none was logged yet, or all of them are deleted"):
        await resolve(rig, "digits:v5")


async def test_an_alias_as_of_a_moment(rig: Rig) -> None:
    """SEM-16: by the stamps of its history."""
    before = await now(rig)
    await rig.log(aliases=("best",))
    first = await now(rig)
    await rig.log(aliases=("best",))
    second = await now(rig)
    await rig.move("best", None)
    gone = await now(rig)
    await rig.move("best", DIGITS.version(0))
    assert (await resolve(rig, f"digits:best@{first}")).name.number == 0
    assert (await resolve(rig, f"digits:best@{second}")).name.number == 1
    assert (await resolve(rig, "digits:best@2999-12-31")).name.number == 0
    for moment in (before, gone, "1970-01-01", "2001-02-03"):
        with pytest.raises(AliasNotFound, match=r"as of \S+; it was first set at \S+$") as raised:
            await resolve(rig, f"digits:best@{moment}")
        assert raised.value.metadata["nearest"] == ""
    with pytest.raises(AliasNotFound, match=r"as of \S+; did you mean 'best'\?"):
        await resolve(rig, "digits:bst@2001-02-03")


async def test_a_stamp_is_the_first_moment_of_a_change(rig: Rig) -> None:
    v0, v1 = [(await rig.log()).version.name for _ in range(2)]
    await rig.move("best", v0)
    await rig.move("best", v1)
    stamp = (await rig.aliases.get_alias(CALLER, DIGITS.alias("best"))).update_time
    at, just_before = (moment.isoformat() for moment in (stamp, stamp - timedelta(microseconds=1)))
    assert (await resolve(rig, f"digits:best@{at}")).name == v1
    assert (await resolve(rig, f"digits:best@{just_before}")).name == v0


async def test_latest_as_of_a_moment(rig: Rig) -> None:
    """SEM-18: computed from the times of commit, delete and restore."""
    moments = [await now(rig)]
    expected: list[int | None] = [None]

    async def note(number: int | None) -> None:
        moments.append(await now(rig))
        expected.append(number)

    await rig.log()
    await note(0)
    await rig.log()
    await note(1)
    await delete(rig, 1)
    await note(0)
    await delete(rig, 0)
    await note(None)
    await restore(rig, 1)
    await note(1)
    await restore(rig, 0)
    await note(1)
    await delete(rig, 1)
    await note(0)
    await restore(rig, 1)
    for moment, number in zip(moments, expected, strict=True):
        if number is None:
            with pytest.raises(VersionNotFound, match="as of"):
                await resolve(rig, f"digits@{moment}")
        else:
            assert (await resolve(rig, f"digits@{moment}")).name.number == number
            assert (await resolve(rig, f"digits:latest@{moment}")).name.number == number


async def test_a_day_is_its_end(rig: Rig) -> None:
    """SEM-3: a date means the end of that day, UTC."""
    await rig.log()
    today: datetime = await rig.transactions.read(lambda work: work.now())
    assert (await resolve(rig, f"digits@{today.date()}")).name.number == 0
    with pytest.raises(VersionNotFound):
        await resolve(rig, f"digits@{(today - timedelta(days=1)).date()}")


async def test_as_of_leads_to_a_tombstone_when_the_version_was_deleted_since(rig: Rig) -> None:
    """SEM-40."""
    await rig.log(aliases=("best",))
    then = await now(rig)
    await delete(rig, 0, "bad data")
    with pytest.raises(VersionDeleted, match="bad data"):
        await resolve(rig, f"digits:best@{then}")


async def test_a_deleted_version_answers_with_its_tombstone(rig: Rig) -> None:
    """SEM-40: who, when, why; not NOT_FOUND."""
    digest = (await rig.log()).version.digest
    await delete(rig, 0, "bad data")
    for address in ("digits:v0", f"digits@{digest}", f"digits@sha256:{digest.hex[:8]}"):
        with pytest.raises(VersionDeleted, match=r"digits:v0 was deleted .* by teams/acme/apiKeys/k1: bad data") as raised:
            await resolve(rig, address)
        assert raised.value.metadata["reason"] == "bad data"
        assert raised.value.metadata["actor"] == CALLER.actor
        assert datetime.fromisoformat(raised.value.metadata["delete_time"]).tzinfo == UTC


async def test_a_digest_means_the_target_of_dedup(rig: Rig) -> None:
    """SEM-13: of a deleted version and a live one with the same content, the live one."""
    await rig.log({"a": b"1"})
    await delete(rig, 0)
    again = (await rig.log({"a": b"1"})).version
    assert again.name.number == 1
    assert (await resolve(rig, f"digits@{again.digest}")).name == again.name


async def test_a_prefix_that_fits_several_is_refused(rig: Rig) -> None:
    """SEM-3: a prefix of an odd number of digits too."""
    for _ in range(3):
        await rig.log()
    forged = ["abcdef01" + "00" * 28, "abcdef01" + "ff" * 28, "abcdef02" + "00" * 28]
    for number, digest in enumerate(forged):
        await rig.database.write(
            lambda session, number=number, digest=digest: session.execute(
                update(VersionRow).where(col(VersionRow.number) == number).values(digest=bytes.fromhex(digest))
            )
        )
    with pytest.raises(DigestAmbiguous, match="more digits") as raised:
        await resolve(rig, "digits@sha256:abcdef01")
    assert "digits:v0" in raised.value.metadata["versions"]
    assert "digits:v1" in raised.value.metadata["versions"]
    found = [(await resolve(rig, f"digits@sha256:{prefix}")).name.number for prefix in ("abcdef010", "abcdef01f", "abcdef02")]
    assert found == [0, 1, 2]
    assert (await resolve(rig, f"digits@sha256:{forged[1]}")).name.number == 1


async def test_what_is_missing_is_said_with_what_exists(rig: Rig) -> None:
    await rig.log(aliases=("production", "best"))
    await rig.log()
    expected: list[tuple[str, type[ModelkeepError], str]] = [
        ("digits:v9", VersionNotFound, "there is no v9 of 'digits'; the newest are v1, v0"),
        ("digits:producton", AliasNotFound, r"did you mean 'production'\? There are: best, production"),
        ("digits:lastest", AliasNotFound, "did you mean 'latest'"),
        ("digits@sha256:00000000", VersionNotFound, "begins with sha256:00000000"),
        ("digit:best", CollectionNotFound, r"did you mean 'digits'\? There are: digits"),
        ("visoin/digits", ProjectNotFound, "did you mean 'vision'"),
        ("acme/other/digits", ProjectNotFound, "there are: vision"),
    ]
    for address, error, message in expected:
        with pytest.raises(error, match=message):
            await resolve(rig, address)
    ghost = Caller("teams/ghost/apiKeys/k", "ghost", Role.READ, access=Access.READ)
    with pytest.raises(TeamNotFound, match="ghost"):
        await resolve(rig, "ghost/vision/digits", ghost)


async def test_an_empty_collection_has_no_version_yet(rig: Rig) -> None:
    await rig.draft()
    for address in ("digits", "digits:v0"):
        with pytest.raises(VersionNotFound, match=r"yet|none was logged"):
            await resolve(rig, address)


@pytest.mark.parametrize(
    "address", ["", ":", "a:", "a@", "a/b/c/d:x", "digits:v01", "digits:v1@2026-01-01", "digits@sha256:abc", "digits@yesterday"]
)
async def test_what_is_no_address(rig: Rig, address: str) -> None:
    with pytest.raises(InvalidAddress):
        await resolve(rig, address)


async def test_an_address_survives_a_rename(rig: Rig) -> None:
    await rig.log(aliases=("best",))
    then = await now(rig)
    await rig.collections.rename_collection(call("RenameCollection"), DIGITS, CollectionName("acme", "vision", "numbers"))
    for address in ("numbers:best", "numbers:v0", f"numbers:best@{then}", f"numbers@{then}"):
        assert (await resolve(rig, address)).name.short == "numbers:v0"
    with pytest.raises(CollectionNotFound, match="numbers"):
        await resolve(rig, "digits:best")


@pytest.mark.peer("M-AUTHZ-1")
async def test_another_team_learns_nothing_and_a_reader_reads(rig: Rig) -> None:
    """M-AUTHZ-1: the address decides which team is meant, not the parent."""
    await rig.log()
    for address in ("acme/vision/digits", "acme/no/where"):
        with pytest.raises(PermissionDenied):
            await ResolutionApp(rig.transactions).resolve(OTHER, ProjectName("rivals", "x"), address)
    with pytest.raises(PermissionDenied):
        await resolve(rig, "digits", OTHER)
    assert (await resolve(rig, "digits", READER)).name == DIGITS.version(0)


async def test_a_moment_is_compared_in_microseconds(rig: Rig) -> None:
    """The same rows on both engines: what is stored is a number."""
    version = (await rig.log()).version
    stored = await rig.database.read(lambda session: session.scalar(text("SELECT create_time FROM version")))
    assert stored == to_micros(version.create_time)
