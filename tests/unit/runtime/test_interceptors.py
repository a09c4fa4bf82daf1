"""What happens around a call, on all four kinds of RPC, over a real connection."""

import asyncio
import json
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import grpc
import grpc.aio
import pytest
import structlog
from modelkeep._status import from_rpc_error
from modelkeep.api.blob.v1 import blob_maintenance_service_pb2 as maintenance_pb
from modelkeep.api.blob.v1 import blob_service_pb2 as pb
from modelkeep.api.blob.v1 import blob_service_pb2_grpc as rpc
from modelkeep.errors import (
    AccessTokenInvalid,
    DeadlineExceeded,
    InternalError,
    InvalidArgument,
    LeaseNotFound,
    ModelkeepError,
    PermissionDenied,
    TooBusy,
)
from modelkeep_server.runtime import interceptors
from modelkeep_server.runtime.callers import Role
from modelkeep_server.runtime.channels import MAX_MESSAGE_BYTES

from tests.unit.runtime.rig import BLOB, Rig

Kind = Callable[..., Awaitable[Any]]


async def unary(rig: Rig, **options: Any) -> Any:
    return await rig.blob.GetCapabilities(pb.GetCapabilitiesRequest(), **{"metadata": rig.token(), **options})


async def streaming_in(rig: Rig, **options: Any) -> Any:
    return await rig.blob.Write(iter([pb.WriteRequest()] * 2), **{"metadata": rig.token(), **options})


async def streaming_out(rig: Rig, **options: Any) -> Any:
    return await responses(rig.blob.Read(pb.ReadRequest(), **{"metadata": rig.token(), **options}))


async def streaming_both(rig: Rig, **options: Any) -> Any:
    options = {"metadata": rig.token(is_service=True), **options}
    return await responses(rig.maintenance.ConfirmChunks(iter([maintenance_pb.ConfirmChunksRequest(epoch=4)] * 2), **options))


async def responses(call: Any) -> list[Any]:
    try:
        return [response async for response in call]
    finally:
        call.cancel()  # grpc's client forgets to, for a reader that is cancelled in the moment the server's headers arrive


KINDS = [unary, streaming_in, streaming_out, streaming_both]
each_kind = pytest.mark.parametrize("call", KINDS, ids=lambda kind: kind.__name__)


async def failure(call: Kind, *args: Any, **options: Any) -> ModelkeepError:
    while True:
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await call(*args, **options)
        if caught.value.details() != "Internal error from Core":  # aio clients that still write may lose the status: grpc#36066
            return from_rpc_error(caught.value)


def raising(error: BaseException) -> Callable[[], Awaitable[None]]:
    async def work() -> None:
        raise error

    return work


async def forever() -> None:
    await asyncio.Event().wait()


@each_kind
async def test_a_call_is_served_with_its_caller(rig: Rig, call: Kind):
    assert await call(rig)
    (caller,) = rig.callers
    if call is streaming_both:
        assert (caller.actor, caller.team, caller.role, caller.is_service) == ("services/s", "", None, True)
    else:
        assert (caller.actor, caller.team, caller.role, caller.is_service) == ("teams/t/apiKeys/k", "t", Role.ADMIN, False)
        assert caller.readable_teams == {"u"}


@each_kind
async def test_an_error_keeps_its_class_its_words_and_its_metadata(rig: Rig, call: Kind):
    rig.work = raising(LeaseNotFound("there is no lease 'é'; open one", lease="é"))
    error = await failure(call, rig, metadata=(*rig.token(is_service=call is streaming_both), ("x-request-id", "mine-1")))
    assert isinstance(error, LeaseNotFound)
    assert (error.message, error.metadata, error.request_id) == ("there is no lease 'é'; open one", {"lease": "é"}, "mine-1")


@each_kind
async def test_a_fault_of_ours_is_internal_and_tells_nothing_but_an_id(rig: Rig, call: Kind):
    rig.work = raising(ValueError("canary: the password is hunter2"))
    with structlog.testing.capture_logs() as logged:
        error = await failure(call, rig)
    assert isinstance(error, InternalError)
    assert "canary" not in error.message
    assert error.request_id == rig.callers[-1].request_id
    fault = next(line for line in logged if line["event"] == "call failed")
    assert "canary" in str(fault["exc_info"])


@each_kind
async def test_without_a_token_nothing_happens(rig: Rig, call: Kind):
    error = await failure(call, rig, metadata=())
    assert isinstance(error, AccessTokenInvalid)
    assert error.request_id
    assert rig.callers == []


@each_kind
async def test_the_deadline_of_the_client_cancels_the_work(rig: Rig, call: Kind):
    """R12: a deadline is honoured, and the work stops."""
    rig.work = forever
    while not rig.callers:  # on a busy machine the time may be over before the call is there
        assert isinstance(await failure(call, rig, timeout=0.3), DeadlineExceeded)
    await rig.cancelled.wait()


@each_kind
async def test_a_call_without_a_deadline_gets_the_servers(start, call: Kind):
    """R12, M-UP-4: no call lives for ever."""
    rig = await start(max_unary_seconds=0.2, max_stream_seconds=0.2)
    rig.work = forever
    while not rig.callers:  # on a busy machine the time may be over before the work begins
        error = await failure(call, rig)
    assert isinstance(error, DeadlineExceeded)
    assert "0.2" in error.message
    await rig.cancelled.wait()


async def test_a_deadline_beyond_the_servers_is_cut(start):
    rig = await start(max_unary_seconds=0.2)
    rig.work = forever
    assert "0.2" in (await failure(unary, rig, timeout=3000)).message


@each_kind
async def test_a_client_that_goes_away_stops_the_work(rig: Rig, call: Kind):
    """R12: cancel stops work."""
    begun = asyncio.Event()

    async def work() -> None:
        begun.set()
        await forever()

    rig.work = work
    task = asyncio.create_task(call(rig))
    await begun.wait()
    task.cancel()
    await rig.cancelled.wait()
    assert rig.server._interceptor.in_flight <= 1


MUCH = pb.ReadRequest(ranges=[pb.ReadRange(length=1 << 20)] * 200)


async def test_a_reader_that_goes_away_while_it_holds_up_a_write_ends_the_work(rig: Rig):
    """R12, M-DOS-2: what a slow reader held is given back when it goes."""
    call = rig.blob.Read(MUCH, metadata=rig.token())
    assert (await call.read()).range_index == 0
    assert not rig.read_closed.is_set()
    call.cancel()
    await rig.read_closed.wait()
    await rig.server._interceptor.idle()


async def test_a_reader_that_does_not_read_is_ended_by_the_servers_deadline(start):
    rig = await start(max_stream_seconds=0.3)
    call = rig.blob.Read(MUCH, metadata=rig.token())
    await rig.read_closed.wait()
    await rig.server._interceptor.idle()
    assert await code_of(call) is grpc.StatusCode.DEADLINE_EXCEEDED


async def test_a_reader_that_takes_no_message_at_all_is_told_of_the_servers_deadline(start):
    """R12, M-DOS-2: grpc takes headers that go with a message for unsent until it is through, and would send no status then."""
    rig = await start(max_stream_seconds=0.3)
    narrow = [("grpc.http2.bdp_probe", 0)]  # keeps the window smaller than the first message
    async with grpc.aio.insecure_channel(rig.url.removeprefix("grpc://"), options=narrow) as channel:
        call = rpc.BlobServiceStub(channel).Read(MUCH, metadata=rig.token())
        await rig.read_closed.wait()
        assert await code_of(call) is grpc.StatusCode.DEADLINE_EXCEEDED


async def test_a_call_that_ends_as_its_headers_leave_is_told_so():
    """The time is over when the first message is there."""

    class Slow(Rig):
        async def Read(self, request: pb.ReadRequest, context: Any) -> AsyncIterator[pb.ReadResponse]:
            time.sleep(0.3)  # noqa: ASYNC251 - holds up the timer too, which comes in the step after this one
            yield pb.ReadResponse()

    rig = await Slow().start(max_stream_seconds=0.2)
    call = rig.blob.Read(pb.ReadRequest(), metadata=rig.token())
    assert await code_of(call) is grpc.StatusCode.DEADLINE_EXCEEDED
    await rig.stop()


async def test_a_write_that_fails_first_is_no_fault_but_a_call_that_is_over():
    """grpc cancels who serves a call that is over; the write under way may fail in the step before."""

    class Over:
        async def write(self, response: object) -> None:
            raise grpc.aio.InternalError("Failed execute_batch")

    with pytest.raises(asyncio.CancelledError):
        await interceptors._write(Over(), pb.ReadResponse())


async def test_a_message_that_is_too_large_is_logged_as_the_fault_that_it_is(rig: Rig):
    """SEM-27: grpc does not send it, and ends the call as if the client had left."""
    huge = pb.ReadRequest(ranges=[pb.ReadRange(length=MAX_MESSAGE_BYTES)])
    with structlog.testing.capture_logs() as logged:
        assert await code_of(rig.blob.Read(huge, metadata=rig.token())) is grpc.StatusCode.RESOURCE_EXHAUSTED
        await rig.server._interceptor.idle()
    (fault,) = (line for line in logged if line["event"] == "message too large")
    assert (fault["log_level"], fault["method"]) == ("error", f"{BLOB}Read")
    assert fault["size_bytes"] > fault["most_bytes"]


async def code_of(call: Any) -> grpc.StatusCode:
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await responses(call)
    return caught.value.code()


@each_kind
async def test_full_means_too_busy_with_a_time_to_come_back(start, call: Kind):
    """M-UP-5: admission answers RESOURCE_EXHAUSTED and says when to try again."""
    rig = await start(max_concurrent_calls=1)
    begun, go_on = asyncio.Event(), asyncio.Event()

    async def work() -> None:
        begun.set()
        await go_on.wait()

    rig.work = work
    first = asyncio.create_task(unary(rig))
    await begun.wait()
    error = await failure(call, rig)
    go_on.set()
    await first
    assert isinstance(error, TooBusy)
    assert error.metadata["retry_after_seconds"] == "1"


async def test_the_limit_lets_calls_in_again_after_every_kind_of_end(start):
    rig = await start(max_concurrent_calls=1)
    for call in KINDS:
        await call(rig)
        await failure(call, rig, metadata=())
        rig.work = raising(ValueError())
        await failure(call, rig)
        rig.work = raising(LeaseNotFound("no"))
        await failure(call, rig)
        rig.work = lambda: asyncio.sleep(0)
    assert rig.server._interceptor.in_flight == 0


async def idle_requests() -> AsyncIterator[pb.WriteRequest]:
    yield pb.WriteRequest()
    await forever()


async def test_a_stream_that_idles_is_ended(start):
    """M-DOS-1: a stream may not keep silent for ever."""
    rig = await start(stream_idle_seconds=0.2)
    error = await failure(lambda: rig.blob.Write(idle_requests(), metadata=rig.token()))
    assert isinstance(error, DeadlineExceeded)
    assert "idled" in error.message


@pytest.mark.parametrize("path", ["GetCapabilities", "Write"])
async def test_bytes_that_are_no_message_are_the_callers_fault(rig: Rig, path: str):
    if path == "Write":
        error = await failure(lambda: rig.channel.stream_unary(BLOB + path)(iter([b"\xff\xff"]), metadata=rig.token()))
    else:
        error = await failure(lambda: rig.channel.unary_unary(BLOB + path)(b"\xff\xff", metadata=rig.token()))
    assert isinstance(error, InvalidArgument)


async def test_a_message_beyond_the_limit_is_refused(rig: Rig):
    """M-DOS-1: nobody can make the server hold more than 4 MiB of one message."""
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await rig.blob.PrepareUpload(pb.PrepareUploadRequest(parent="x" * (4 << 20)), metadata=rig.token())
    assert caught.value.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
    assert rig.callers == []


@pytest.mark.parametrize("given", ["a" * 65, "with space", ""])
async def test_a_request_id_that_could_spoil_a_log_is_replaced(rig: Rig, given: str):
    call = rig.blob.GetCapabilities(pb.GetCapabilitiesRequest(), metadata=(*rig.token(), ("x-request-id", given)))
    await call
    request_id = dict(await call.trailing_metadata())["x-request-id"]
    assert request_id != given
    assert len(request_id) == 32
    assert rig.callers[0].request_id == request_id


async def test_a_good_request_id_is_kept_and_sent_back(rig: Rig):
    call = rig.blob.GetCapabilities(pb.GetCapabilitiesRequest(), metadata=(*rig.token(), ("x-request-id", "job-17/step:3")))
    await call
    assert dict(await call.trailing_metadata())["x-request-id"] == "job-17/step:3"


async def test_roles_are_looked_at_before_the_work(rig: Rig):
    """M-AUTHZ-1, at the door: who cannot do it anywhere does not get in."""
    read_only = rig.token(Role.READ)
    assert await streaming_out(rig, metadata=read_only)
    for token in (read_only, rig.token(None), rig.token(is_service=True)):
        assert isinstance(await failure(rig.blob.PrepareUpload, pb.PrepareUploadRequest(), metadata=token), PermissionDenied)
    assert isinstance(await failure(streaming_both, rig, metadata=rig.token(Role.ADMIN)), PermissionDenied)
    assert len(rig.callers) == 1


async def test_what_needs_nothing_works_without_a_token(rig: Rig):
    await rig.blob.Stat(pb.StatRequest())
    assert rig.callers[0].actor == ""


@pytest.mark.parametrize("header", ["Bearer", "Bearer ", "Basic abc", "bearer x.y.z", "Bearer " + "a" * 9000])
async def test_a_bad_authorization_header_is_no_token(rig: Rig, header: str):
    assert isinstance(await failure(unary, rig, metadata=(("authorization", header),)), AccessTokenInvalid)


async def test_calls_are_counted_by_method_and_code(rig: Rig):
    await unary(rig)
    rig.work = raising(LeaseNotFound("no"))
    await failure(unary, rig)
    await failure(unary, rig, metadata=())
    labels = {"service": "BlobService", "method": "GetCapabilities"}
    counted = {labels["code"]: value for labels, value in rig.metrics.samples("modelkeep_rpc_calls_total")}
    assert counted == {"OK": 1, "NOT_FOUND": 1, "UNAUTHENTICATED": 1}
    assert (labels, 3) in rig.metrics.samples("modelkeep_rpc_duration_seconds_count")
    assert (labels, len(pb.Capabilities(block_bytes=7).SerializeToString())) in rig.metrics.samples(
        "modelkeep_rpc_sent_bytes_total"
    )
    assert list(rig.metrics.samples("modelkeep_rpc_in_flight_calls")) == [({}, 0)]


async def test_bytes_of_streams_are_counted(rig: Rig):
    message = pb.WriteRequest(data=b"x" * 1000)
    await rig.blob.Write(iter([message] * 3), metadata=rig.token())
    labels = {"service": "BlobService", "method": "Write"}
    assert (labels, 3 * message.ByteSize()) in rig.metrics.samples("modelkeep_rpc_received_bytes_total")


async def test_failed_calls_are_logged_and_good_ones_only_when_asked(start):
    for log_calls, expected in (("failed", ["NOT_FOUND"]), ("all", ["OK", "NOT_FOUND"])):
        rig = await start(log_calls=log_calls)
        with structlog.testing.capture_logs() as logged:
            await unary(rig)
            rig.work = raising(LeaseNotFound("no"))
            await failure(unary, rig)
        assert [line["code"] for line in logged] == expected
        assert json.dumps(logged)  # plain values only
