"""API keys and what they are exchanged for (R14, DESIGN §1)."""

import asyncio
import re
from dataclasses import replace
from datetime import datetime, timedelta
from itertools import product

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, PublicFormat
from hypothesis import given, settings
from hypothesis import strategies as st
from modelkeep.errors import (
    ApiKeyExpired,
    ApiKeyInvalid,
    ApiKeyNotFound,
    InvalidArgument,
    InvalidName,
    InvalidPageToken,
    LimitExceeded,
    PermissionDenied,
    TeamNotFound,
)
from modelkeep.names import ApiKeyName, TeamName
from modelkeep_server.database.paging import Page, token
from modelkeep_server.metadata.app.key import KeyApp, issue_embedded_key, issue_key, issue_service_key
from modelkeep_server.metadata.domain.key import ApiKey, KeyRole, KeyWish, Secret
from modelkeep_server.metadata.store.tables import ApiKeyRow
from modelkeep_server.runtime.callers import Access, Caller, Role
from modelkeep_server.runtime.tokens import Claims, Signer, Verifier
from sqlalchemy import text

from tests.unit.metadata.rig import TEAM, Rig, call

ACME = TeamName(TEAM)
PRIVATE = Ed25519PrivateKey.generate()
SIGNER = Signer(PRIVATE.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
VERIFIER = Verifier([PRIVATE.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)])
WRITER = KeyWish(KeyRole.WRITE)
ADMIN = Caller(f"teams/{TEAM}/apiKeys/root", TEAM, Role.ADMIN, frozenset({"lab"}), access=Access.ADMIN)


def keys(rig: Rig) -> KeyApp:
    return KeyApp(rig.transactions, SIGNER)


async def create(rig: Rig, wish: KeyWish = WRITER, caller: Caller = ADMIN) -> tuple[ApiKey, str]:
    return await keys(rig).create_api_key(call("CreateApiKey", caller), ACME, wish)


async def teams(rig: Rig, *names: str) -> None:
    for name in names:
        await rig.transactions.write(lambda work, name=name: work.teams.ensure(TeamName(name)))


async def test_a_key_becomes_a_token_that_says_who_and_what(rig: Rig) -> None:
    await teams(rig, "lab")
    key, secret = await create(rig, KeyWish(KeyRole.WRITE, (TeamName("lab"),), "ci"))
    exchanged = await keys(rig).exchange_api_key(secret)
    assert VERIFIER.verify(exchanged.token) == Claims(str(key.name), TEAM, Role.WRITE, ("lab",))
    assert (exchanged.lifetime, exchanged.team, exchanged.role) == (timedelta(seconds=60), TEAM, KeyRole.WRITE)
    assert exchanged.token not in repr(exchanged)


def test_a_secret_is_256_random_bits_and_a_check() -> None:
    """R14."""
    secrets = [Secret.draw() for _ in range(200)]
    assert all(re.fullmatch(r"mk_[0-9A-Za-z]{8}_[0-9A-Za-z]{49}", secret.text) for secret in secrets)
    assert all(Secret.parse(secret.text) == secret for secret in secrets)
    assert len({secret.text[12:55] for secret in secrets}) == len({secret.id for secret in secrets}) == 200
    assert secrets[0].text not in repr(secrets[0])


MISTYPED = Secret.draw().text
"""One secret for all examples: Hypothesis needs the same choices to mean the same thing twice."""


@settings(deadline=None)
@given(st.data())
def test_a_mistyped_secret_is_noticed_without_a_query(data: st.DataObject) -> None:
    """R14: the CRC finds every change of one character, and every cut."""
    good = MISTYPED
    position = data.draw(st.integers(0, len(good) - 1))
    other = data.draw(st.characters(min_codepoint=33, max_codepoint=126).filter(lambda c: c != good[position]))
    cut = data.draw(st.integers(0, len(good) - 1))
    for bad in (good[:position] + other + good[position + 1 :], good[:cut], good + other, " " + good):
        with pytest.raises(ApiKeyInvalid) as raised:
            Secret.parse(bad)
        assert good[12:55] not in str(raised.value)


async def test_a_malformed_secret_costs_no_query(rig: Rig) -> None:
    for bad in ("", "mk_", "x" * 10_000, Secret.draw().text[:-1] + "!", "mk_" + "é" * 58, "Bearer " + Secret.draw().text):
        with rig.statements() as seen, pytest.raises(ApiKeyInvalid):
            await keys(rig).exchange_api_key(bad)
        assert seen == []


async def test_a_dump_of_the_database_holds_no_secret(rig: Rig) -> None:
    """R14: nor does the memory of the request that made it."""
    _, secret = await create(rig)
    await issue_service_key(rig.transactions, "blob")
    tables = ("api_key", "request", "event", "team", "project")
    rows = [await rig.database.read(lambda s, t=t: s.execute(text(f"SELECT * FROM {t}"))) for t in tables]
    dump = " ".join(str(row) for result in rows for row in result)
    assert secret[3:11] in dump
    assert secret[12:55] not in dump
    assert secret[12:30] not in dump


async def test_a_repeated_call_answers_without_the_secret(rig: Rig) -> None:
    same = call("CreateApiKey", ADMIN)
    answers = await asyncio.gather(*(keys(rig).create_api_key(same, ACME, KeyWish(KeyRole.READ)) for _ in range(20)))
    assert len({key for key, _ in answers}) == 1
    assert sorted(bool(secret) for _, secret in answers) == [False] * 19 + [True]
    assert await rig.count(ApiKeyRow) == 1


async def test_a_revoked_key_ends_at_once_and_for_good(rig: Rig) -> None:
    key, secret = await create(rig)
    revoked = await keys(rig).revoke_api_key(call("RevokeApiKey", ADMIN), key.name)
    assert revoked.revoke_time is not None
    with pytest.raises(ApiKeyInvalid):
        await keys(rig).exchange_api_key(secret)
    rig.clock.offset = timedelta(hours=1)
    assert await keys(rig).revoke_api_key(call("RevokeApiKey", ADMIN), key.name) == revoked
    with pytest.raises(ApiKeyNotFound):
        await keys(rig).revoke_api_key(call("RevokeApiKey", ADMIN), ApiKeyName(TEAM, "nobody"))


async def test_a_key_expires_by_the_clock_of_the_database(rig: Rig) -> None:
    now: datetime = await rig.transactions.read(lambda work: work.now())
    key, secret = await create(rig, KeyWish(KeyRole.READ, expire_time=now + timedelta(days=1)))
    assert key.expire_time == now + timedelta(days=1)
    rig.clock.offset = timedelta(hours=23)
    await keys(rig).exchange_api_key(secret)
    rig.clock.offset = timedelta(days=1)
    with pytest.raises(ApiKeyExpired):
        await keys(rig).exchange_api_key(secret)
    with pytest.raises(InvalidArgument, match="expire_time"):
        await create(rig, KeyWish(KeyRole.READ, expire_time=now))


async def test_unknown_wrong_and_revoked_are_one_answer(rig: Rig) -> None:
    """R14: who guesses learns nothing, not even that an id exists or that a key has expired."""
    now: datetime = await rig.transactions.read(lambda work: work.now())
    known, _ = await create(rig)
    revoked, secret = await create(rig)
    await keys(rig).revoke_api_key(call("RevokeApiKey", ADMIN), revoked.name)
    expired, _ = await create(rig, KeyWish(KeyRole.READ, expire_time=now + timedelta(seconds=30)))
    rig.clock.offset = timedelta(minutes=1)
    guesses = [Secret.draw().text, Secret.draw(known.name.key).text, Secret.draw(expired.name.key).text, secret]
    messages: set[str] = set()
    for guess in guesses:
        with pytest.raises(ApiKeyInvalid) as raised:
            await keys(rig).exchange_api_key(guess)
        messages.add(str(raised.value))
        assert guess[12:] not in str(raised.value)
    assert len(messages) == 1


@pytest.mark.peer("M-AUTHZ-1")
async def test_nobody_makes_a_key_that_may_do_more_than_he_may(rig: Rig) -> None:
    """M-AUTHZ-1: only an admin, only in his team, and no reader of teams that he may not read."""
    await teams(rig, "lab", "rivals")
    wishes = [KeyWish(role) for role in KeyRole]
    lesser = [replace(ADMIN, role=role) for role in (Role.READ, Role.WRITE, None)]
    for caller, wish in product(lesser, wishes):
        with pytest.raises(PermissionDenied):
            await create(rig, wish, caller)
    with pytest.raises(PermissionDenied, match="rivals"):
        await create(rig, KeyWish(KeyRole.READ, (TeamName("rivals"),)))
    with pytest.raises(PermissionDenied, match="nowhere"):
        await create(rig, KeyWish(KeyRole.READ, (TeamName("nowhere"),)))
    foreign = replace(ADMIN, team="rivals")
    attempts = [
        create(rig, caller=foreign),
        keys(rig).list_api_keys(foreign, ACME, Page()),
        keys(rig).revoke_api_key(call("RevokeApiKey", foreign), ApiKeyName(TEAM, "root")),
        create(rig, caller=Caller("services/blob", is_service=True, access=Access.ADMIN)),
    ]
    for attempt in attempts:
        with pytest.raises(PermissionDenied):
            await attempt
    assert await rig.count(ApiKeyRow) == 0


async def test_what_no_key_may_be(rig: Rig) -> None:
    with pytest.raises(TeamNotFound, match="lab"):
        await create(rig, KeyWish(KeyRole.READ, (TeamName("lab"),)))
    many = tuple(TeamName(f"t{i}") for i in range(33))
    with pytest.raises(LimitExceeded):
        await create(rig, KeyWish(KeyRole.READ, many), replace(ADMIN, readable_teams=frozenset(one.team for one in many)))
    with pytest.raises(LimitExceeded):
        await create(rig, KeyWish(KeyRole.READ, display_name="x" * 1025))


async def test_the_keys_of_a_team_oldest_first_by_pages(rig: Rig) -> None:
    made = [(await create(rig, KeyWish(KeyRole.READ, display_name=f"k{i}")))[0] for i in range(5)]
    await issue_service_key(rig.transactions, "blob")
    first = await keys(rig).list_api_keys(ADMIN, ACME, Page(3))
    second = await keys(rig).list_api_keys(ADMIN, ACME, Page(3, first.next_token))
    assert [*first.items, *second.items] == made
    assert second.next_token == ""
    for forged in ([2**62, "a"], [-1, "a"], [1.5, "a"], [True, "a"], ["1", "a"], [1]):
        with pytest.raises(InvalidPageToken):
            await keys(rig).list_api_keys(ADMIN, ACME, Page(3, token(forged, "keys", ACME)))


async def test_the_operator_makes_the_first_key_and_its_team(rig: Rig) -> None:
    wish = KeyWish(KeyRole.ADMIN, (ACME,), "first")
    secret = await issue_key(rig.transactions, TeamName("fresh"), wish, timedelta(days=90))
    assert VERIFIER.verify((await keys(rig).exchange_api_key(secret)).token).team == "fresh"
    rig.clock.offset = timedelta(days=91)
    with pytest.raises(ApiKeyExpired):
        await keys(rig).exchange_api_key(secret)
    with pytest.raises(TeamNotFound):
        await issue_key(rig.transactions, ACME, KeyWish(KeyRole.READ, (TeamName("nowhere"),)), None)


async def test_a_services_key_gives_a_services_token(rig: Rig) -> None:
    secrets = [await issue_service_key(rig.transactions, "lineage") for _ in range(2)]
    for secret in secrets:
        exchanged = await keys(rig).exchange_api_key(secret)
        assert VERIFIER.verify(exchanged.token) == Claims("services/lineage", is_service=True)
        assert (exchanged.team, exchanged.role) == ("", None)
    with pytest.raises(InvalidName):
        await issue_service_key(rig.transactions, "a/b")
    with pytest.raises(InvalidName):
        await issue_service_key(rig.transactions, "")


async def test_an_embedded_server_takes_a_new_key_at_each_start(rig: Rig) -> None:
    """The secret of the start before ends; the id stays, so that history reads well; other keys of the team stay good."""
    _, other = await create(rig)
    first = await issue_embedded_key(rig.transactions, ACME)
    claims = VERIFIER.verify((await keys(rig).exchange_api_key(first)).token)
    assert claims == Claims(f"teams/{TEAM}/apiKeys/embedded", TEAM, Role.ADMIN)
    await keys(rig).revoke_api_key(call("RevokeApiKey", ADMIN), ApiKeyName(TEAM, "embedded"))
    second = await issue_embedded_key(rig.transactions, ACME)
    with pytest.raises(ApiKeyInvalid):
        await keys(rig).exchange_api_key(first)
    assert VERIFIER.verify((await keys(rig).exchange_api_key(second)).token) == claims
    await keys(rig).exchange_api_key(other)


async def test_an_exchange_is_one_statement(rig: Rig) -> None:
    _, secret = await create(rig)
    with rig.statements() as seen:
        await keys(rig).exchange_api_key(secret)
    assert len([one for one in seen if not one.startswith("BEGIN")]) == 1
