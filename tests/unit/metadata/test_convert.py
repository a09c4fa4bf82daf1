"""What comes over the wire is checked once, at the door; what goes out says all that there is."""

from dataclasses import asdict, fields
from datetime import UTC, datetime, timedelta
from typing import Any, get_args
from uuid import UUID, uuid4

import pytest
from google.protobuf.timestamp_pb2 import Timestamp
from hypothesis import given
from hypothesis import strategies as st
from modelkeep.api.metadata.v1 import alias_pb2, key_pb2, metadata_service_pb2
from modelkeep.api.metadata.v1 import metadata_service_pb2 as pb
from modelkeep.errors import InvalidArgument, InvalidName, LimitExceeded
from modelkeep.names import ApiKeyName, ProjectName, TeamName, parse_words
from modelkeep_server.metadata.convert.alias import alias_to_pb, change_to_pb, moves_from_pb
from modelkeep_server.metadata.convert.event import event_to_pb
from modelkeep_server.metadata.convert.key import exchanged_to_pb, key_to_pb, wish_from_pb
from modelkeep_server.metadata.convert.limits import limits_to_pb
from modelkeep_server.metadata.convert.stream import open_stream
from modelkeep_server.metadata.domain.alias import AliasChange, AliasMove
from modelkeep_server.metadata.domain.event import Event, Happening
from modelkeep_server.metadata.domain.key import ApiKey, Exchanged, KeyRole, KeyWish
from modelkeep_server.metadata.domain.limits import Limits
from modelkeep_server.runtime.messages import call_from_pb, page_from_pb
from modelkeep_server.runtime.moments import from_timestamp, to_timestamp

from tests.unit.metadata.rig import CALLER, DIGITS

ID = "5f1c0b3e-8d67-4c0e-9a51-2f4a7b9d6e13"
NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)


def moves(**fields: Any) -> pb.MoveAliasesRequest:
    return pb.MoveAliasesRequest(**{"parent": str(DIGITS), "reason": "x", "request_id": ID, **fields})


def test_a_call_is_known_by_method_id_and_body() -> None:
    """SEM-14: the request id is not part of the body; everything else is."""
    call = call_from_pb(moves(), CALLER)
    assert (call.method, call.request_id, call.caller) == ("MoveAliases", ID, CALLER)
    assert call_from_pb(moves(request_id=str(uuid4())), CALLER).fingerprint == call.fingerprint
    assert call_from_pb(moves(reason="y"), CALLER).fingerprint != call.fingerprint
    two = [alias_pb2.AliasMove(alias="a"), alias_pb2.AliasMove(alias="b")]
    assert call_from_pb(moves(moves=two), CALLER).fingerprint != call_from_pb(moves(moves=two[::-1]), CALLER).fingerprint


def test_the_method_of_every_call_is_the_name_of_its_request() -> None:
    service = metadata_service_pb2.DESCRIPTOR.services_by_name["MetadataService"]
    assert all(method.input_type.name == f"{method.name}Request" for method in service.methods)


@pytest.mark.parametrize(
    "request_id",
    [
        "",
        "x",
        "1284a392-e64f-11f1-9d35-02fc00000001",
        ID.upper(),
        ID.replace("-", ""),
        f"{{{ID}}}",
        ID + "\n",
        str(UUID(int=0)),
        "é" * 1000,
    ],
)
def test_a_request_id_is_a_uuid4(request_id: str) -> None:
    with pytest.raises(InvalidArgument, match="UUID4") as raised:
        call_from_pb(moves(request_id=request_id), CALLER)
    assert raised.value.metadata["field"] == "request_id"
    assert len(raised.value.message) < 300


@pytest.mark.peer("M-DOS-1")
def test_a_page_is_bounded() -> None:
    """M-DOS-1: 0 means 50, more than 1,000 means 1,000."""
    assert [page_from_pb(pb.ListAliasesRequest(page_size=size)).size for size in (0, 1, 1000, 1001, 2**31 - 1)] == [
        50,
        1,
        1000,
        1000,
        1000,
    ]
    with pytest.raises(InvalidArgument):
        page_from_pb(pb.ListAliasesRequest(page_size=-1))


def test_moves_carry_their_expectations() -> None:
    """SEM-17."""
    v1, v2 = str(DIGITS.version(1)), str(DIGITS.version(2))
    message = [
        alias_pb2.AliasMove(alias="a", version=v1),
        alias_pb2.AliasMove(alias="b", version=v1, expected_version=v2),
        alias_pb2.AliasMove(alias="c", version=v1, must_not_exist=True),
        alias_pb2.AliasMove(alias="d"),
    ]
    assert moves_from_pb(message) == (
        AliasMove("a", DIGITS.version(1)),
        AliasMove("b", DIGITS.version(1), DIGITS.version(2)),
        AliasMove("c", DIGITS.version(1), must_not_exist=True),
        AliasMove("d", None),
    )
    for bad in (alias_pb2.AliasMove(version="v1"), alias_pb2.AliasMove(version=v1, expected_version="")):
        with pytest.raises(InvalidName):
            moves_from_pb([bad])


def test_an_alias_and_its_history() -> None:
    change = AliasChange(DIGITS.alias("best"), 7, DIGITS.version(1), None, NOON, "me", "why")
    line, alias = change_to_pb(change), alias_to_pb(change.result)
    assert (line.alias, line.seq, line.from_version, line.to_version) == (
        f"{DIGITS}/aliases/best",
        7,
        f"{DIGITS}/versions/v1",
        "",
    )
    assert (line.actor, line.reason, line.change_time.ToDatetime(UTC)) == ("me", "why", NOON)
    assert (alias.name, alias.version, alias.seq, alias.etag) == (f"{DIGITS}/aliases/best", "", 7, "7")


@pytest.mark.parametrize("kind", get_args(Happening))
def test_every_event_is_the_message_of_its_name(kind: type) -> None:
    """SEM-58: each field of the class is a field of the message."""
    samples = {"str": "x", "int": 3, "bool": True, "tuple[str, ...]": ("a", "b")}
    happening = kind(**{field.name: samples[str(field.type)] for field in fields(kind)})
    event = event_to_pb(Event("u", ProjectName("t", "p"), 4, NOON, "me", happening))
    message = getattr(event, event.WhichOneof("happening") or "")
    assert type(message).__name__ == kind.__name__
    assert {field.name for field in message.DESCRIPTOR.fields} == {field.name for field in fields(kind)}
    assert all(_plain(getattr(message, name)) == value for name, value in asdict(happening).items())


def _plain(value: Any) -> Any:
    return value if isinstance(value, str | int) else tuple(value)


def test_keys_and_tokens() -> None:
    wish = wish_from_pb(
        key_pb2.ApiKey(role=key_pb2.ROLE_WRITE, readable_teams=["teams/b", "teams/a", "teams/a"], display_name="x")
    )
    assert wish == KeyWish(KeyRole.WRITE, (TeamName("a"), TeamName("b")), "x", None)
    key = key_to_pb(ApiKey(ApiKeyName("t", "k"), "x", KeyRole.ADMIN, (TeamName("a"),), NOON, None, NOON))
    assert (key.role, list(key.readable_teams)) == (key_pb2.ROLE_ADMIN, ["teams/a"])
    assert (key.HasField("create_time"), key.HasField("expire_time"), key.HasField("revoke_time")) == (True, False, True)
    service = exchanged_to_pb(Exchanged("token", timedelta(seconds=60), "", None))
    assert (service.team, service.role, service.lifetime.seconds) == ("", key_pb2.ROLE_UNSPECIFIED, 60)
    for bad in (key_pb2.ApiKey(), key_pb2.ApiKey(role=9)):  # type: ignore[arg-type]
        with pytest.raises(InvalidArgument, match="role"):
            wish_from_pb(bad)
    with pytest.raises(InvalidArgument, match="expire_time"):
        wish_from_pb(key_pb2.ApiKey(role=key_pb2.ROLE_READ, expire_time=Timestamp(seconds=-1)))


@given(st.datetimes(datetime(1970, 1, 1), datetime(9999, 12, 31), timezones=st.just(UTC)))  # noqa: DTZ001 - hypothesis wants it so
def test_a_moment_survives_the_wire(moment: datetime) -> None:
    stamp = to_timestamp(moment)
    assert stamp is not None
    assert from_timestamp(stamp, "x") == moment
    assert to_timestamp(None) is None


@pytest.mark.parametrize(
    "stamp", [Timestamp(seconds=2**62), Timestamp(nanos=-1), Timestamp(nanos=10**9), Timestamp(seconds=-1)]
)
def test_what_is_no_moment(stamp: Timestamp) -> None:
    with pytest.raises(InvalidArgument):
        from_timestamp(stamp, "x")


@pytest.mark.peer("M-DOS-1")
def test_a_text_is_bounded_in_bytes() -> None:
    """M-DOS-1: so that a page of a thousand lines fits into one message of 4 MiB."""
    assert parse_words("é" * 512, "reason") == "é" * 512
    with pytest.raises(LimitExceeded, match="1,026"):
        parse_words("é" * 513, "reason")


def test_the_limits_are_told() -> None:
    limits = limits_to_pb(Limits())
    assert all(getattr(limits, field.name) > 0 for field in limits.DESCRIPTOR.fields)


async def test_a_stream_names_its_draft_once() -> None:
    name = f"teams/t/projects/p/drafts/{ID}"

    async def requests(*drafts: str) -> Any:
        for draft in drafts:
            yield pb.AddEntriesRequest(draft=draft)

    draft, overwrite, messages = await open_stream(requests(name, "", ""))
    assert (str(draft), overwrite) == (name, False)
    assert [message async for message in messages] == [[], [], []]
    *_, messages = await open_stream(requests(name, name))
    with pytest.raises(InvalidArgument, match="first message"):
        _ = [message async for message in messages]
    for nothing in ((), ("",), ("drafts/1",)):
        with pytest.raises(InvalidName):
            await open_stream(requests(*nothing))
