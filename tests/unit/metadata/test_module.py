"""The wiring of the metadata service, and what its operator may do."""

import asyncio
import threading
from collections.abc import AsyncIterator
from datetime import timedelta
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from modelkeep.errors import ApiKeyInvalid, InvalidName, PermissionDenied, ServiceUnavailable, TeamNotFound
from modelkeep.names import TeamName
from modelkeep_server.database.clock import Clock
from modelkeep_server.database.engine import Database
from modelkeep_server.database.paging import Page
from modelkeep_server.metadata.app.key import KeyApp
from modelkeep_server.metadata.app.team import TeamApp
from modelkeep_server.metadata.module import ACCESS, build, create_key, create_service_key, embedded_key, limits_of, migrate
from modelkeep_server.metadata.settings import MetadataSettings
from modelkeep_server.metadata.store.unit_of_work import SqlTransactions
from modelkeep_server.runtime.callers import Access, Caller, Role
from modelkeep_server.runtime.channels import Channels
from modelkeep_server.runtime.lifecycle import CannotStart
from modelkeep_server.runtime.tokens import Claims, Signer, Verifier
from modelkeep_server.runtime.wiring import Wiring
from pydantic import ValidationError

from tests.unit.metadata.rig import CALLER, OTHER, Rig

PRIVATE = Ed25519PrivateKey.generate()
SIGNER = Signer(PRIVATE.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))


async def no_token() -> str:
    raise AssertionError("nothing is called")


@pytest.fixture
async def wiring() -> AsyncIterator[Wiring]:
    channels = Channels({"blob": "grpc://127.0.0.1:1"}, no_token)
    yield Wiring(channels, Clock(), SIGNER)
    await channels.close()


@pytest.fixture
async def settings(tmp_path: Path) -> MetadataSettings:
    settings = MetadataSettings(database_url=f"sqlite:///{tmp_path}/folder/metadata.sqlite")
    await migrate(settings)
    return settings


async def exchange(settings: MetadataSettings, secret: str) -> Claims:
    database = Database(settings.database_url)
    try:
        exchanged = await KeyApp(SqlTransactions(database, Clock()), SIGNER).exchange_api_key(secret)
    finally:
        await database.close()
    return Verifier([SIGNER.public_key_pem]).verify(exchanged.token)


async def test_a_service_is_ready_while_its_database_answers(settings: MetadataSettings, wiring: Wiring) -> None:
    service = await build(settings, wiring)
    await service.check()
    assert service.gauges["database_connections_in_use"]() == 0
    assert service.gauges["database_connections_limit"]() > 0
    assert service.access is ACCESS
    await service.close()


@pytest.mark.parametrize("url", ["sqlite:////no/such/folder/x.sqlite", "postgresql://nobody@127.0.0.1:1/none"])
async def test_a_service_is_not_ready_while_its_database_is_away(url: str, wiring: Wiring) -> None:
    """R17."""
    service = await build(MetadataSettings(database_url=url), wiring)
    with pytest.raises(ServiceUnavailable):
        await service.check()
    await service.close()
    # The driver's thread tells the loop that it ended, also after a file that could not be opened: the loop must live so long.
    for thread in threading.enumerate():
        if "_connection_worker_thread" in thread.name:
            await asyncio.to_thread(thread.join, 10)


async def test_without_a_signing_key_it_does_not_start(settings: MetadataSettings, wiring: Wiring) -> None:
    with pytest.raises(CannotStart, match="signing-key init"):
        await build(settings, Wiring(wiring.channels, wiring.clock))


async def test_the_operator_makes_keys(settings: MetadataSettings) -> None:
    first = await create_key(settings, "acme", display_name="first")
    assert (await exchange(settings, first)).role is Role.ADMIN
    reader = await create_key(settings, "lab", role=Role.READ, readable_teams=["acme", "acme"], lifetime=timedelta(hours=1))
    claims = await exchange(settings, reader)
    assert (claims.team, claims.role, claims.readable_teams) == ("lab", Role.READ, ("acme",))
    assert await exchange(settings, await create_service_key(settings, "blob")) == Claims("services/blob", is_service=True)
    with pytest.raises(TeamNotFound):
        await create_key(settings, "lab", readable_teams=["nowhere"])
    with pytest.raises(InvalidName):
        await create_key(settings, "no/team")


async def test_each_start_of_an_embedded_server_ends_the_key_before(settings: MetadataSettings) -> None:
    first, second = await embedded_key(settings), await embedded_key(settings)
    assert (await exchange(settings, second)).actor == "teams/default/apiKeys/embedded"
    with pytest.raises(ApiKeyInvalid):
        await exchange(settings, first)


async def test_settings_become_limits() -> None:
    limits = limits_of(MetadataSettings(draft_hours=2, restore_days=3, max_tags=4))
    assert (limits.draft_lifetime, limits.restore_period, limits.max_tags) == (timedelta(hours=2), timedelta(days=3), 4)
    for wrong in ({"draft_hours": 0}, {"nonsense": 1}, {"max_aliases": 0}):
        with pytest.raises(ValidationError):
            MetadataSettings.model_validate(wrong)


@pytest.mark.peer("M-AUTHZ-1")
async def test_one_sees_the_teams_that_one_may_read(rig: Rig) -> None:
    """SEM-1, M-AUTHZ-1: no other team, and none that does not exist."""
    for name in ("zeta", "lab", "rivals"):
        await rig.transactions.write(lambda work, name=name: work.teams.ensure(TeamName(name)))
    app = TeamApp(rig.transactions)
    caller = Caller(CALLER.actor, "acme", Role.READ, frozenset({"zeta", "lab", "gone"}), access=Access.READ)
    listing = await app.list_teams(caller, Page(2))
    rest = await app.list_teams(caller, Page(2, listing.next_token))
    assert [team.name.team for team in (*listing.items, *rest.items)] == ["acme", "lab", "zeta"]
    assert (await app.get_team(caller, TeamName("lab"))).name == TeamName("lab")
    with pytest.raises(TeamNotFound):
        await app.get_team(caller, TeamName("gone"))
    for foreign in ("acme", "nowhere"):
        with pytest.raises(PermissionDenied, match="does not have"):
            await app.get_team(OTHER, TeamName(foreign))
    with pytest.raises(PermissionDenied, match="a service has no teams"):
        await app.list_teams(Caller("services/blob", is_service=True), Page())
