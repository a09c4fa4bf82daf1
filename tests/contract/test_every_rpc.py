"""Every RPC of the contract against every kind of caller: a table generated from the descriptors (M-AUTHZ-1, R12).

What a call needs stands in its comment; what a request is about, in its resource references. So an RPC that comes later is in
this table by itself, and one whose request cannot be made up here fails until `GIVEN` says how.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Sequence
from functools import cache
from time import monotonic
from typing import Any
from uuid import uuid4

import grpc
import pytest
from google.api import resource_pb2
from google.protobuf import descriptor_pool, message_factory
from google.protobuf.descriptor import FieldDescriptor
from google.protobuf.message import Message
from modelkeep._status import from_rpc_error
from modelkeep.api.blob.v1 import blob_maintenance_service_pb2, blob_service_pb2
from modelkeep.api.lineage.v1 import lineage_service_pb2
from modelkeep.api.metadata.v1 import metadata_maintenance_service_pb2, metadata_service_pb2
from modelkeep.errors import AccessTokenInvalid, PermissionDenied

from tests.house.repository import Rpc, rpcs
from tests.suites import Suite, service_key

LOADED = (
    blob_service_pb2,
    blob_maintenance_service_pb2,
    metadata_service_pb2,
    metadata_maintenance_service_pb2,
    lineage_service_pb2,
)
OWN, OTHER = "authz-own", "authz-other"
UUID = "0b9c4f0e-3d5b-4c8a-9d0e-0123456789ab"
SAMPLES = {
    "modelkeep/Team": "",
    "modelkeep/Project": "/projects/p",
    "modelkeep/Collection": "/projects/p/collections/c",
    "modelkeep/Version": "/projects/p/collections/c/versions/v7",
    "modelkeep/Alias": "/projects/p/collections/c/aliases/a",
    "modelkeep/Draft": f"/projects/p/drafts/{UUID}",
    "modelkeep/ApiKey": "/apiKeys/abcd1234",
    "modelkeep/Run": "/projects/p/runs/r",
    "modelkeep/Lease": f"/leases/{UUID}",
}
GIVEN: dict[str, dict[str, Any]] = {
    "CreateProject": {"project_id": "p"},
    "UpdateProject": {"project": {"name": f"teams/{OWN}/projects/p"}, "update_mask": {"paths": ["description"]}},
    "CreateCollection": {"collection_id": "c", "collection": {"type": "model"}},
    "UpdateCollection": {
        "collection": {"name": f"teams/{OWN}/projects/p/collections/c"},
        "update_mask": {"paths": ["description"]},
    },
    "RenameCollection": {"new_collection_id": "d"},
    "MoveCollection": {"new_collection_id": "d"},
    "RemoveEntries": {"paths": ["w"]},
    "CreateDraft": {"draft": {"collection": f"teams/{OWN}/projects/p/collections/c", "type": "model"}},
    "Resolve": {"address": "c:latest"},
    "UpdateVersion": {
        "version": {"name": f"teams/{OWN}/projects/p/collections/c/versions/v7"},
        "update_mask": {"paths": ["description"]},
    },
    "CreateApiKey": {"api_key": {"role": 1}},
    "MoveAliases": {"moves": [{"alias": "a", "version": f"teams/{OWN}/projects/p/collections/c/versions/v7"}]},
    "SetAliasRule": {"expression": "argmax(metadata.acc)"},
    "EditTags": {"add": ["t"]},
    "AddSignature": {"signature": {"algorithm": 1, "public_key": bytes(32), "value": bytes(64)}},
    "CreateRun": {"run_id": "r", "run": {}},
    "GetBestRun": {"metric": "acc"},
    "UpdateRun": {"run": {"name": f"teams/{OWN}/projects/p/runs/r"}, "update_mask": {"paths": ["notes"]}},
    "ListMetricPoints": {"key": "acc"},
    "ListNeighbors": {"parent": f"teams/{OWN}/projects/p/runs/r", "direction": 1},
    "StreamLineage": {"name": f"teams/{OWN}/projects/p/runs/r"},
    "StreamPaths": {"source": f"teams/{OWN}/projects/p/runs/r", "target": f"teams/{OWN}/projects/p/runs/r"},
    "ListCommonAncestors": {"first": f"teams/{OWN}/projects/p/runs/r", "second": f"teams/{OWN}/projects/p/runs/r"},
    "GetImpact": {"name": f"teams/{OWN}/projects/p/runs/r"},
    "RecordUse": {"run": f"teams/{OWN}/projects/p/runs/r"},
}
"""What a request needs besides its resource names and its request id, to be well formed."""

JUNK = ("", "x", "..", "teams/../projects/p", "a\0b", "é" * 40, "x" * 10_000, "latest")
"""Texts that no name is, or that some name may not be."""
NUMBERS = (-1, 0, 2**31 - 1)

READ = {"own read", "own write", "own admin", "other that may read", "service"}
MAY = {
    "no token": {"nobody", "garbage", "other"} | READ,
    "any valid token": {"other"} | READ,
    "any valid token of a user": ({"other"} | READ) - {"service"},
    "read on the team": READ,
    "read on it": READ,
    "read on the team, or a service token": READ,
    "write on the team": {"own write", "own admin"},
    "write on the team of the run, read on the team of the version": {"own write", "own admin"},
    "write on the team, read on the team of the base": {"own write", "own admin"},
    "write on the team of the parent, read on that of the source": {"own write", "own admin"},
    "admin on the team": {"own admin"},
    "a service token": {"service"},
}
Metadata = tuple[tuple[str, str], ...]

every_rpc = pytest.mark.parametrize("rpc", rpcs(), ids=lambda rpc: rpc.path.rpartition(".")[2])


@pytest.fixture(scope="module")
def channel_of(suite: Suite) -> Iterator[Callable[[Rpc], grpc.Channel]]:
    """The channel to the service of an RPC."""
    urls = {"metadata": suite.url, "blob": suite.blob_url or suite.url, "lineage": suite.lineage_url or suite.url}
    channels = {name: grpc.insecure_channel(url.removeprefix("grpc://")) for name, url in urls.items()}
    yield lambda rpc: channels[rpc.service.split(".")[2]]
    for channel in channels.values():
        channel.close()


@pytest.fixture(scope="module")
def keys(suite: Suite) -> dict[str, str]:
    """The key of each kind of caller."""
    own = {f"own {role}": suite.key(OWN, role) for role in ("read", "write", "admin")}
    others = {"other": suite.key(OTHER), "other that may read": suite.key(OTHER, readable_teams=(OWN,))}
    assert suite.operator is not None
    return own | others | {"service": service_key(f"s-{uuid4().hex[:8]}", suite.operator)}


@pytest.fixture(scope="module")
def tokens(keys: dict[str, str], channel_of: Callable[[Rpc], grpc.Channel]) -> Callable[[int], dict[str, Metadata]]:
    """What each kind of caller sends along in the n-th ten seconds: tokens that are good for a minute."""
    exchange = next(rpc for rpc in rpcs() if rpc.name == "ExchangeApiKey")

    def token(secret: str) -> Metadata:
        answer = call(channel_of(exchange), exchange, {"secret": secret}, ())
        return (("authorization", f"Bearer {answer.access_token}"),)

    strangers: dict[str, Metadata] = {"nobody": (), "garbage": (("authorization", "Bearer x.y.z"),)}
    return cache(lambda _round: strangers | {who: token(key) for who, key in keys.items()})


@pytest.fixture
def callers(tokens: Callable[[int], dict[str, Metadata]]) -> dict[str, Metadata]:
    """What each kind of caller sends along, for as long as a test takes."""
    return tokens(int(monotonic() / 10))


@pytest.fixture(scope="module")
def given(channel_of: Callable[[Rpc], grpc.Channel], keys: dict[str, str]) -> Callable[[Rpc], dict[str, Any]]:
    """A request about the team OWN, also where only an answer of the server gives what it needs."""
    by_name = {rpc.name: rpc for rpc in rpcs() if rpc.name != "GetCapabilities"}

    def ask(called: str, /, **fields: Any) -> Any:
        sent = call(channel_of(by_name["ExchangeApiKey"]), by_name["ExchangeApiKey"], {"secret": keys["own admin"]}, ())
        metadata = (("authorization", f"Bearer {sent.access_token}"),)
        return call(channel_of(by_name[called]), by_name[called], fields, metadata)

    @cache
    def group() -> str:
        project = f"teams/{OWN}/projects/groups"
        opened = {"parent": project, "draft": {"collection": f"{project}/collections/c", "type": "data"}}
        draft = ask("CreateDraft", **opened, request_id=str(uuid4())).name
        version = ask("CommitDraft", name=draft).version.name
        for number in range(5):
            ask("RecordUse", version=version, run=f"{project}/runs/r{number}", request_id=str(uuid4()))
        return ask("StreamLineage", name=version).groups[0].token

    return lambda rpc: request_of(rpc) | ({"group": group()} if rpc.name == "ListGroupNodes" else {})


def request_of(rpc: Rpc) -> dict[str, Any]:
    """A well-formed request about the team OWN."""
    fields: dict[str, Any] = {}
    for field in rpc.request.field:
        kind = field.options.Extensions[resource_pb2.resource_reference].type
        if field.name == "request_id":
            fields["request_id"] = str(uuid4())
        elif kind:
            fields[field.name] = f"teams/{OWN}{SAMPLES[kind]}"
    return fields | GIVEN.get(rpc.name, {})


def call(channel: grpc.Channel, rpc: Rpc, fields: dict[str, Any], metadata: Metadata, *, timeout: float = 30) -> Message:
    """Make a call of any kind to its first answer."""
    return started(channel, rpc, iter([message(rpc, fields)]), metadata, timeout)


def message(rpc: Rpc, fields: dict[str, Any]) -> Message:
    return types(rpc)[0](**fields)


def attacked(rpc: Rpc) -> Iterator[Message]:
    """The request once for every junk value in every text and number of it, nested ones too; the rest stays well formed."""
    sound = message(rpc, request_of(rpc))
    for path, field in places(sound):
        numbers = NUMBERS if field.cpp_type in {field.CPPTYPE_INT32, field.CPPTYPE_INT64} else ()
        texts = (*JUNK, f"{getattr(at(sound, path), field.name)}?") if field.type == field.TYPE_STRING else ()
        for value in texts or numbers:
            request = message(rpc, request_of(rpc))
            target = at(request, path)
            if field.is_repeated:
                getattr(target, field.name).append(value)
            else:
                setattr(target, field.name, value)
            yield request


def at(request: Message, path: tuple[str | int, ...]) -> Any:
    """The message within the request that a path leads to."""
    target: Any = request
    for step in path:
        target = target[step] if isinstance(step, int) else getattr(target, step)
    return target


def places(sound: Message, above: tuple[str | int, ...] = ()) -> Iterator[tuple[tuple[str | int, ...], FieldDescriptor]]:
    """Every field of a message and of the messages in it, with the way to it."""
    for field in sound.DESCRIPTOR.fields:
        yield above, field
        inner = getattr(sound, field.name) if field.message_type else ()
        for number, item in enumerate(inner if isinstance(inner, Sequence) else ()):
            yield from places(item, (*above, field.name, number))
        if isinstance(inner, Message) and sound.HasField(field.name):
            yield from places(inner, (*above, field.name))


def types(rpc: Rpc) -> list[type[Message]]:
    pool = descriptor_pool.Default()
    names = (rpc.method.input_type, rpc.method.output_type)
    return [message_factory.GetMessageClass(pool.FindMessageTypeByName(name.lstrip("."))) for name in names]


def started(channel: grpc.Channel, rpc: Rpc, requests: Iterator[Message], metadata: Metadata, timeout: float) -> Message:
    kinds = {
        (False, False): channel.unary_unary,
        (False, True): channel.unary_stream,
        (True, False): channel.stream_unary,
        (True, True): channel.stream_stream,
    }
    streams_in, streams_out = rpc.method.client_streaming, rpc.method.server_streaming
    request_type, response_type = types(rpc)
    stub = kinds[streams_in, streams_out](rpc.path, request_type.SerializeToString, response_type.FromString)
    answer = stub(requests if streams_in else next(requests), metadata=metadata, timeout=timeout)
    return next(answer, None) if streams_out else answer


@pytest.mark.peer("M-AUTHZ-1")
@every_rpc
def test_only_those_who_may_get_in(rpc: Rpc, channel_of, callers: dict[str, Metadata], given):
    found = {}
    for who, metadata in callers.items():
        try:
            call(channel_of(rpc), rpc, given(rpc), metadata)
            found[who] = "in"
        except grpc.RpcError as failed:
            error = from_rpc_error(failed)
            refused = isinstance(error, PermissionDenied | AccessTokenInvalid)
            found[who] = type(error).__name__ if refused else "in"
            assert error.request_id
            assert refused or error.code.name not in {"INVALID_ARGUMENT", "INTERNAL", "UNIMPLEMENTED", "UNAVAILABLE"}, error
    strangers = {"nobody", "garbage"}
    expected = {who: "AccessTokenInvalid" if who in strangers else "PermissionDenied" for who in callers}
    assert found == expected | dict.fromkeys(MAY[rpc.needs], "in")


@every_rpc
def test_a_stream_that_says_nothing_ends_by_its_deadline(rpc: Rpc, channel_of, callers: dict[str, Metadata]):
    """R12: a deadline is honoured, whoever waits for whom."""
    if not rpc.method.client_streaming:
        return
    who = "service" if rpc.needs == "a service token" else "own admin"

    over = threading.Event()

    def requests() -> Iterator[Message]:
        over.wait()
        yield message(rpc, {})

    with pytest.raises(grpc.RpcError) as caught:
        started(channel_of(rpc), rpc, requests(), callers[who], 0.5)
    over.set()
    assert caught.value.code() is grpc.StatusCode.DEADLINE_EXCEEDED


@pytest.mark.peer("M-DOS-1")
@pytest.mark.one_topology
@every_rpc
def test_bad_values_are_refused_in_the_words_of_the_contract(rpc: Rpc, channel_of, callers: dict[str, Metadata]):
    """Whatever stands in one field: an answer, or an error that the comment of the RPC lists; never a fault of the server."""
    who = "service" if rpc.needs == "a service token" else "own admin"
    for request in attacked(rpc):
        try:
            started(channel_of(rpc), rpc, iter([request]), callers[who], 30)
        except grpc.RpcError as failed:
            error = from_rpc_error(failed)
            assert error.reason in rpc.reasons, f"{error.reason}: {error}\n{str(request)[:500]}"
            assert len(error.message) < 2000


@every_rpc
def test_a_body_that_is_no_message_is_refused(rpc: Rpc, channel_of, callers: dict[str, Metadata]):
    """The server and its log stay well, whatever bytes come."""
    if rpc.method.client_streaming or rpc.method.server_streaming:
        return
    who = "service" if rpc.needs == "a service token" else "own admin"
    stub = channel_of(rpc).unary_unary(rpc.path)
    with pytest.raises(grpc.RpcError) as caught:
        stub(b"\xff\xff\xff", metadata=callers[who], timeout=30)
    assert caught.value.code() is grpc.StatusCode.INVALID_ARGUMENT
