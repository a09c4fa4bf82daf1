"""The server of a process: what it refuses to start with, its health, its end, TLS."""

import asyncio
import urllib.request
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import grpc
import grpc.aio
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha.proto_reflection_descriptor_database import ProtoReflectionDescriptorDatabase
from modelkeep.api.blob.v1 import blob_service_pb2 as pb
from modelkeep.api.blob.v1 import blob_service_pb2_grpc as rpc
from modelkeep.errors import ServiceUnavailable
from modelkeep_server.runtime.health import Health
from modelkeep_server.runtime.lifecycle import CannotStart
from modelkeep_server.runtime.metrics import Metrics, MetricsServer
from modelkeep_server.runtime.server import Server
from modelkeep_server.runtime.settings import RuntimeSettings
from modelkeep_server.runtime.tokens import Signer, Verifier

from tests.unit.runtime.certificates import Authority
from tests.unit.runtime.rig import ACCESS, BLOB, Access, Rig, private_key_pem

SERVING = health_pb2.HealthCheckResponse.SERVING
NOT_SERVING = health_pb2.HealthCheckResponse.NOT_SERVING
Start = Callable[..., Awaitable[Rig]]


async def status(rig: Rig, service: str = "") -> int:
    answer = await health_pb2_grpc.HealthStub(rig.channel).Check(health_pb2.HealthCheckRequest(service=service))
    return answer.status


async def health_becomes(rig: Rig, expected: int, service: str = "") -> None:
    watch = health_pb2_grpc.HealthStub(rig.channel).Watch(health_pb2.HealthCheckRequest(service=service))
    async for answer in watch:
        if answer.status == expected:
            return
    raise AssertionError(f"the watch ended before health became {expected}")


def server(**settings: Any) -> Server:
    verifier = Verifier([Signer(private_key_pem()).public_key_pem])
    return Server(RuntimeSettings(**{"listen": "127.0.0.1:0", **settings}), verifier, Metrics())


@pytest.mark.peer("M-AUTHZ-1")
async def test_an_rpc_without_an_access_rule_keeps_the_server_from_starting():
    rules = {path: access for path, access in ACCESS.items() if not path.endswith("/Write")}
    with pytest.raises(CannotStart, match=r"no access rule.*BlobService/Write"):
        server().mount(Rig().service("blob", rpc.add_BlobServiceServicer_to_server, rules))


async def test_a_rule_without_an_rpc_keeps_the_server_from_starting():
    rules = ACCESS | {f"{BLOB}Wriet": Access.WRITE}
    with pytest.raises(CannotStart, match=r"Wriet.*belong to no RPC"):
        server().mount(Rig().service("blob", rpc.add_BlobServiceServicer_to_server, rules))


async def test_a_taken_port_is_an_error_that_offers_another(rig: Rig):
    second = server(listen=rig.url.removeprefix("grpc://"))
    with pytest.raises(CannotStart, match="--port"):
        second.bind()


async def test_a_unix_socket_serves(start: Start, tmp_path: Path):
    rig = await start(listen=f"unix:{tmp_path}/s")
    assert rig.url == f"unix:{tmp_path}/s"
    async with grpc.aio.insecure_channel(rig.url) as channel:
        answer = await rpc.BlobServiceStub(channel).GetCapabilities(pb.GetCapabilitiesRequest(), metadata=rig.token())
    assert answer.block_bytes == 7


async def test_health_tells_of_each_service_and_of_the_whole(start: Start):
    rig = await start(readiness_seconds=0.05)
    names = ["", "blob", "upkeep", "modelkeep.api.blob.v1.BlobService", "modelkeep.api.blob.v1.BlobMaintenanceService"]
    assert [await status(rig, name) for name in names] == [SERVING] * 5

    async def away() -> None:
        raise ServiceUnavailable("the database is gone")

    rig.check = away
    await health_becomes(rig, NOT_SERVING)
    assert list(rig.metrics.samples("modelkeep_service_ready")) == [({"service": "blob"}, 0), ({"service": "upkeep"}, 0)]
    rig.check = lambda: asyncio.sleep(0)
    await health_becomes(rig, SERVING, "blob")


async def test_a_readiness_check_that_hangs_is_not_ready(start: Start):
    rig = await start(readiness_seconds=0.05)
    rig.check = lambda: asyncio.Event().wait()  # type: ignore[assignment,return-value]
    await health_becomes(rig, NOT_SERVING)


async def test_health_of_an_unknown_service(rig: Rig):
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await status(rig, "nobody")
    assert caught.value.code() is grpc.StatusCode.NOT_FOUND
    await health_becomes(rig, health_pb2.HealthCheckResponse.SERVICE_UNKNOWN, "nobody")


async def test_a_newer_health_service_with_more_calls_is_no_obstacle(start: Start, monkeypatch: pytest.MonkeyPatch):
    """The library of the health service adds calls to it (it did: List); installed fresh, a server must start with them."""
    add = health_pb2_grpc.add_HealthServicer_to_server
    unary = grpc.unary_unary_rpc_method_handler

    def add_newer(servicer: health_pb2_grpc.HealthServicer, server: Any) -> None:
        add(servicer, server)
        known = server.handlers["grpc.health.v1.Health"]
        server.add_registered_method_handlers("grpc.health.v1.Health", {"Census": unary(census), **known})

    async def census(request: bytes, _context: grpc.aio.ServicerContext[bytes, bytes]) -> bytes:
        return request

    monkeypatch.setattr(health_pb2_grpc, "add_HealthServicer_to_server", add_newer)
    rig = await start()
    assert await rig.channel.unary_unary("/grpc.health.v1.Health/Census")(b"all") == b"all"
    assert await status(rig) == SERVING


async def test_health_answers_when_the_server_is_full(start: Start):
    """A probe that failed under load would have the server restarted, which makes the load worse."""
    rig = await start(max_concurrent_calls=1)
    begun, go_on = asyncio.Event(), asyncio.Event()

    async def work() -> None:
        begun.set()
        await go_on.wait()

    rig.work = work
    call = rig.blob.Stat(pb.StatRequest())
    await begun.wait()
    assert await status(rig) == SERVING
    go_on.set()
    await call


async def test_a_drain_says_so_first_and_lets_calls_finish(rig: Rig):
    """R11: health NOT_SERVING first, in-flight calls end well, watchers do not hold it up."""
    begun, go_on = asyncio.Event(), asyncio.Event()

    async def work() -> None:
        begun.set()
        await go_on.wait()

    rig.work = work
    call = rig.blob.Stat(pb.StatRequest())
    watch = health_pb2_grpc.HealthStub(rig.channel).Watch(health_pb2.HealthCheckRequest())
    assert (await watch.read()).status == SERVING
    await begun.wait()
    drain = asyncio.create_task(rig.server.drain())
    assert (await watch.read()).status == NOT_SERVING
    assert await watch.read() is grpc.aio.EOF
    assert not rig.closed
    assert not drain.done()
    go_on.set()
    await call
    await drain
    assert rig.closed


async def test_a_watcher_is_told_of_a_drain_that_begins_while_it_is_being_told_something_else() -> None:
    health = Health()
    health.set("", serving=True)
    told = health.Watch(health_pb2.HealthCheckRequest(), None)
    assert (await anext(told)).status == SERVING
    health.drain()  # before the watcher goes on
    assert [one.status async for one in told] == [NOT_SERVING]


async def test_what_does_not_finish_in_a_drain_is_cancelled(start: Start):
    rig = await start(drain_seconds=0.1)
    begun = asyncio.Event()

    async def work() -> None:
        begun.set()
        await asyncio.Event().wait()

    rig.work = work
    call = rig.blob.Stat(pb.StatRequest())
    await begun.wait()
    await rig.server.drain()
    assert rig.cancelled.is_set()
    assert rig.closed
    with pytest.raises((grpc.aio.AioRpcError, asyncio.CancelledError)):
        await call


async def test_a_drained_server_takes_no_calls(start: Start):
    rig = await start()
    await rig.server.drain()
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await rig.blob.Stat(pb.StatRequest())
    assert caught.value.code() is grpc.StatusCode.UNAVAILABLE


async def test_reflection_is_there_by_a_setting(start: Start):
    def services(url: str) -> set[str]:
        with grpc.insecure_channel(url.removeprefix("grpc://")) as channel:
            return set(ProtoReflectionDescriptorDatabase(channel).get_services())

    rig = await start()
    found = await asyncio.to_thread(services, rig.url)
    assert {"modelkeep.api.blob.v1.BlobService", "grpc.health.v1.Health"} <= found
    without = await start(reflection=False)
    with pytest.raises(grpc.RpcError) as caught:
        await asyncio.to_thread(services, without.url)
    assert caught.value.code() is grpc.StatusCode.UNIMPLEMENTED


async def served(rig: Rig, credentials: grpc.ChannelCredentials) -> int:
    async with grpc.aio.secure_channel(rig.url.removeprefix("grpcs://"), credentials) as channel:
        call = rpc.BlobServiceStub(channel).GetCapabilities(pb.GetCapabilitiesRequest(), metadata=rig.token(), timeout=10)
        return (await call).block_bytes


async def test_tls(start: Start, tmp_path: Path):
    authority = Authority(tmp_path)
    certificate, key = authority.issue("server")
    rig = await start(tls_certificate_file=certificate, tls_key_file=key)
    assert rig.url.startswith("grpcs://")
    assert await served(rig, grpc.ssl_channel_credentials(authority.file.read_bytes())) == 7
    with pytest.raises(grpc.aio.AioRpcError):
        await served(rig, grpc.ssl_channel_credentials(Authority(tmp_path, "stranger").file.read_bytes()))


async def test_mutual_tls_asks_callers_for_a_certificate(start: Start, tmp_path: Path):
    authority = Authority(tmp_path)
    certificate, key = authority.issue("server")
    rig = await start(tls_certificate_file=certificate, tls_key_file=key, tls_client_ca_file=authority.file)
    root = authority.file.read_bytes()
    theirs, their_key = authority.issue("client")
    assert await served(rig, grpc.ssl_channel_credentials(root, their_key.read_bytes(), theirs.read_bytes())) == 7
    with pytest.raises(grpc.aio.AioRpcError):
        await served(rig, grpc.ssl_channel_credentials(root))


async def test_metrics_are_served_over_http(rig: Rig):
    await rig.blob.Stat(pb.StatRequest())
    http = MetricsServer(rig.metrics, "127.0.0.1", 0)
    try:
        url = f"http://127.0.0.1:{http.port}/metrics"
        text = await asyncio.to_thread(lambda: urllib.request.urlopen(url, timeout=10).read().decode())
    finally:
        await asyncio.to_thread(http.close)
    assert 'modelkeep_rpc_calls_total{code="OK",method="Stat",service="BlobService"} 1.0' in text
    assert "process_resident_memory_bytes" in text


async def test_gauges_of_a_service_are_read_when_they_are_asked_for():
    metrics = Metrics()
    in_use = [3]
    metrics.gauges("blob", {"database_connections_in_use": lambda: in_use[0]})
    in_use[0] = 4
    assert list(metrics.samples("modelkeep_blob_database_connections_in_use")) == [({}, 4)]
