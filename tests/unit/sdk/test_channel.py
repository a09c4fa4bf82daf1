"""A connection against a real server: token, request id, deadline, retries, and errors as the classes they are."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import grpc
import pytest
from modelkeep import errors
from modelkeep._channel import Connection, connect
from modelkeep._retry import Retry
from modelkeep.api.metadata.v1 import metadata_service_pb2 as pb
from modelkeep.config import Config

from tests.unit.sdk.wire import Wire

TEAM = pb.GetTeamRequest(name="teams/t")


@pytest.fixture
def bare() -> Iterator[str]:
    """The address of a server that serves nothing."""
    server = grpc.server(ThreadPoolExecutor(1))
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    yield f"grpc://127.0.0.1:{port}"
    server.stop(None).wait()


def headers(wire: Wire, method: str) -> list[dict[str, str]]:
    return [seen for name, _, seen in wire.calls.seen if name == method]


def test_a_call_carries_a_token_and_a_request_id(wire: Wire, connection: Connection) -> None:
    connection.metadata.GetTeam(TEAM)
    connection.metadata.GetTeam(TEAM)
    first, second = headers(wire, "GetTeam")
    assert first["authorization"] == second["authorization"] == "Bearer token-1"
    assert len(first["x-request-id"]) == 32
    assert first["x-request-id"] != second["x-request-id"]
    assert wire.calls.count("ExchangeApiKey") == 1
    assert "authorization" not in headers(wire, "ExchangeApiKey")[0]


def test_the_team_is_that_of_the_key_unless_it_is_configured(wire: Wire, connection: Connection) -> None:
    assert connection.team == "t"
    assert str(connection.project) == "teams/t/projects/default"
    configured = Connection(Config(wire.url, "mk_key", team="other", project="p"))
    assert str(configured.project) == "teams/other/projects/p"


def test_a_call_is_tried_again_with_the_same_ids(wire: Wire, connection: Connection) -> None:
    """SEM-14: whatever came through counts once."""
    wire.calls.errors["CreateProject"] = [errors.ServiceUnavailable("away"), errors.TooBusy("busy", retry_after_seconds="0.01")]
    connection.metadata.CreateProject(pb.CreateProjectRequest(parent="teams/t", project_id="p"))
    requests = [request for name, request, _ in wire.calls.seen if name == "CreateProject"]
    assert len(requests) == 3
    assert len({request.request_id for request in requests}) == 1
    assert len(requests[0].request_id) == 36
    assert len({seen["x-request-id"] for seen in headers(wire, "CreateProject")}) == 1


def test_a_request_id_of_the_caller_is_kept(wire: Wire, connection: Connection) -> None:
    connection.metadata.CreateProject(pb.CreateProjectRequest(request_id="mine"))
    assert wire.calls.seen[-1][1].request_id == "mine"


@pytest.mark.parametrize("error", [errors.VersionNotFound("no v9"), errors.StorageFull("full"), errors.AliasChanged("v7")])
def test_what_stays_wrong_is_raised_as_its_class(wire: Wire, connection: Connection, error: errors.ModelkeepError) -> None:
    wire.calls.errors["GetTeam"] = [error]
    with pytest.raises(type(error)) as caught:
        connection.metadata.GetTeam(TEAM)
    assert wire.calls.count("GetTeam") == 1
    assert caught.value.request_id == "from-the-server"
    assert "request from-the-server" in str(caught.value)


def test_a_refused_token_is_renewed_once(wire: Wire, connection: Connection) -> None:
    connection.metadata.GetTeam(TEAM)
    wire.calls.refused_tokens.add("token-1")
    connection.metadata.GetTeam(TEAM)
    assert headers(wire, "GetTeam")[-1]["authorization"] == "Bearer token-2"
    wire.calls.refused_tokens |= {"token-2", "token-3"}
    with pytest.raises(errors.AccessTokenInvalid):
        connection.metadata.GetTeam(TEAM)
    assert wire.calls.tokens == 3


def test_a_token_is_renewed_before_it_ends(wire: Wire, connection: Connection) -> None:
    wire.calls.lifetime_seconds = 0.001
    connection.metadata.GetTeam(TEAM)
    threading.Event().wait(0.002)  # more than its life
    connection.metadata.GetTeam(TEAM)
    assert [seen["authorization"] for seen in headers(wire, "GetTeam")] == ["Bearer token-1", "Bearer token-2"]


def test_many_threads_exchange_one_key(wire: Wire, connection: Connection) -> None:
    threads = [threading.Thread(target=connection.metadata.GetTeam, args=(TEAM,)) for _ in range(20)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wire.calls.count("GetTeam") == 20
    assert wire.calls.tokens == 1


def test_a_wrong_key_is_told_at_once(wire: Wire, connection: Connection) -> None:
    wire.calls.errors["ExchangeApiKey"] = [errors.ApiKeyExpired("the key ended yesterday")]
    with pytest.raises(errors.ApiKeyExpired):
        connection.metadata.GetTeam(TEAM)
    assert wire.calls.count("ExchangeApiKey") == 1


@pytest.mark.peer("M-UP-4")
def test_a_server_that_does_not_answer_ends_at_the_deadline(wire: Wire, connection: Connection) -> None:
    with pytest.raises(errors.DeadlineExceeded, match="did not answer GetTeam in time") as caught:
        connection.metadata.GetTeam(pb.GetTeamRequest(name="teams/hang"), timeout=0.2)
    assert caught.value.request_id


def test_nobody_there_is_told_soon_and_clearly(nobody: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("modelkeep._channel.FIRST_CONTACT_SECONDS", 0.3)
    with pytest.raises(errors.ServiceUnavailable, match=f"grpc://{nobody} cannot be reached"):
        Connection(Config(f"grpc://{nobody}", "mk_key")).metadata.GetTeam(TEAM)


def _elsewhere(config: Config, service: str, url: str) -> Config:
    return replace(config, **{"url" if service == "metadata" else f"{service}_url": url})


def _limits(connection: Connection, service: str) -> object:
    ask = {"metadata": connection.metadata_limits, "blob": connection.limits, "lineage": connection.lineage_limits}
    return ask[service]()


@pytest.mark.parametrize("service", ["blob", "lineage"])
def test_the_address_that_cannot_be_reached_is_the_one_of_the_service(
    service: str, wire: Wire, nobody: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("modelkeep._channel.FIRST_CONTACT_SECONDS", 0.3)
    connection = Connection(_elsewhere(Config(wire.url, "mk_key"), service, f"grpc://{nobody}"))
    connection.metadata_limits()  # that this one answers says nothing of the other
    with pytest.raises(errors.ServiceUnavailable, match=f"grpc://{nobody} cannot be reached") as caught:
        _limits(connection, service)
    assert caught.value.metadata["url"] == f"grpc://{nobody}"


def test_a_server_that_was_there_is_waited_for(wire: Wire, connection: Connection, monkeypatch: pytest.MonkeyPatch) -> None:
    """R11: a restart is no failure."""
    connection.metadata.GetTeam(TEAM)
    monkeypatch.setattr("modelkeep._channel.FIRST_CONTACT_SECONDS", 0.0)
    monkeypatch.setattr(Retry.__init__, "__kwdefaults__", {**Retry.__init__.__kwdefaults__, "random": lambda: 0.0})
    wire.calls.errors["GetTeam"] = [errors.ServiceUnavailable("restarting") for _ in range(20)]
    connection.metadata.GetTeam(TEAM)
    assert wire.calls.count("GetTeam") == 22


def test_a_stream_fails_with_the_class_of_its_error(wire: Wire, connection: Connection) -> None:
    wire.calls.errors["StreamEntries"] = [errors.VersionDeleted("gone", actor="somebody")]
    with pytest.raises(errors.VersionDeleted) as caught:
        list(connection.metadata.StreamEntries(pb.StreamEntriesRequest()))
    assert caught.value.metadata == {"actor": "somebody"}


@pytest.mark.parametrize(
    ("service", "setting"),
    [("metadata", "MODELKEEP_URL"), ("blob", "MODELKEEP_BLOB_URL"), ("lineage", "MODELKEEP_LINEAGE_URL")],
)
def test_what_no_server_there_serves_is_told_with_its_address_and_a_way_out(
    service: str, setting: str, wire: Wire, bare: str
) -> None:
    connection = Connection(_elsewhere(Config(wire.url, "mk_key"), service, bare))
    with pytest.raises(errors.Unimplemented, match=f"{bare} does not serve .* of the {service} service.*{setting}") as caught:
        _limits(connection, service)
    connection.close_channels()
    method = "ExchangeApiKey" if service == "metadata" else "GetCapabilities"
    assert caught.value.metadata == {"url": bare, "service": service, "method": method}


def test_a_server_that_says_itself_what_it_cannot_is_heard(wire: Wire, connection: Connection) -> None:
    wire.calls.errors["GetTeam"] = [errors.Unimplemented("this store cannot do that")]
    with pytest.raises(errors.Unimplemented, match="this store cannot do that"):
        connection.metadata.GetTeam(TEAM)


def test_a_method_that_does_not_exist_is_no_call(connection: Connection) -> None:
    with pytest.raises(AttributeError):
        connection.metadata.DropEverything  # noqa: B018


def test_the_same_settings_give_the_same_connection() -> None:
    one = Config("grpc://host:1", "mk_one")
    first = connect(one)
    assert connect(Config("grpc://host:1", "mk_one")) is first
    assert connect(Config("grpc://host:1", "mk_two")) is not first


def test_closed_channels_are_opened_again(wire: Wire, connection: Connection) -> None:
    connection.metadata.GetTeam(TEAM)
    assert connection.close_channels()
    assert not connection.close_channels()
    connection.metadata.GetTeam(TEAM)
    assert wire.calls.count("GetTeam") == 2
