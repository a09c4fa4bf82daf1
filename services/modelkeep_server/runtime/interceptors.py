"""What happens around every call, in one place: its id, its limits, who calls, what it counts, how it fails, what is logged.

Handlers are wrapped when their servicers are mounted, not looked up per call: so a server with an RPC that has no access rule
never starts, and a call pays for one wrapper instead of a chain.
"""

from __future__ import annotations

import asyncio
import random
import re
import time
from collections.abc import Sequence
from contextlib import aclosing
from dataclasses import dataclass
from types import TracebackType
from typing import TYPE_CHECKING, Any, Final

import grpc
import grpc.aio
import structlog
from modelkeep._status import DETAILS_HEADER, REQUEST_ID_HEADER, RETRY_AFTER, to_status
from modelkeep.errors import (
    AccessTokenInvalid,
    Code,
    DeadlineExceeded,
    InternalError,
    InvalidArgument,
    ModelkeepError,
    PermissionDenied,
    TooBusy,
    Unimplemented,
)

from modelkeep_server.runtime import callers
from modelkeep_server.runtime.callers import Access, Caller, Role
from modelkeep_server.runtime.channels import MAX_MESSAGE_BYTES

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable

    from modelkeep_server.runtime.metrics import MethodMetrics, Metrics
    from modelkeep_server.runtime.settings import RuntimeSettings
    from modelkeep_server.runtime.tokens import Verifier

log = structlog.get_logger()

_REQUEST_ID = re.compile(r"[\x21-\x7e]{1,64}")
_ids: Final = random.Random()  # noqa: S311 - an id is no secret, and asking the system for randomness costs each call
_GRPC_CODES: Final = {code.value[0]: code for code in grpc.StatusCode}
_FAULTS: Final = {Code.INTERNAL, Code.DATA_LOSS, Code.UNAVAILABLE}
"""The codes that say something about the server rather than about the request."""
_HEADERS_SECONDS: Final = 5
"""How long a call that ends may wait for its headers to be on their way, which is a moment unless its connection is dead."""


Metadata = Sequence[tuple[str, Any]]
"""What came with a call beside its request."""


class Malformed:
    """Stands for a request that is not a message of its method."""


@dataclass(frozen=True, slots=True)
class Rpc:
    """One RPC, as it is mounted."""

    path: str
    access: Access
    metrics: MethodMetrics
    seconds: float
    """The most that a call may take."""
    is_probe: bool
    """Answers even when the server is full, so that it is not restarted for being busy."""
    is_watch: bool = False
    """Mostly waits: calls of it are none that the server works on."""


class Interceptor:
    """Wraps the handlers of a server."""

    def __init__(self, settings: RuntimeSettings, verifier: Verifier, metrics: Metrics) -> None:
        self.in_flight = 0
        """Calls being served now."""
        self.watching = 0
        """Those among them that only wait."""
        self.logs_all = settings.log_calls == "all"
        self._settings = settings
        self._verifier = verifier
        self._metrics = metrics
        self._idle = asyncio.Event()
        self._idle.set()
        metrics.read_in_flight(lambda: self.in_flight)

    def wrap(
        self,
        path: str,
        handler: grpc.RpcMethodHandler[Any, Any],
        access: Access,
        *,
        is_probe: bool = False,
        is_watch: bool = False,
    ) -> Any:
        """The same handler with everything around it."""
        streams = handler.request_streaming or handler.response_streaming
        seconds = self._settings.max_stream_seconds if streams else self._settings.max_unary_seconds
        rpc = Rpc(path, access, self._metrics.method(path), seconds, is_probe, is_watch)
        deserialize, serialize = _counted(handler, rpc)
        if handler.response_streaming:
            make = grpc.stream_stream_rpc_method_handler if handler.request_streaming else grpc.unary_stream_rpc_method_handler
            return make(self._many(rpc, handler), deserialize, serialize)
        make = grpc.stream_unary_rpc_method_handler if handler.request_streaming else grpc.unary_unary_rpc_method_handler
        return make(self._one(rpc, handler), deserialize, serialize)

    def _one(self, rpc: Rpc, handler: grpc.RpcMethodHandler[Any, Any]) -> Callable[..., Any]:
        serve: Any = handler.stream_unary if handler.request_streaming else handler.unary_unary
        request_of = self._watched if handler.request_streaming else _well_formed

        async def call(request: Any, context: Any) -> Any:
            async with _Call(self, rpc, context):
                return await serve(request_of(request), context)

        return call

    def _many(self, rpc: Rpc, handler: grpc.RpcMethodHandler[Any, Any]) -> Callable[..., Any]:
        serve: Any = handler.stream_stream if handler.request_streaming else handler.unary_stream
        request_of = self._watched if handler.request_streaming else _well_formed

        # Not a generator itself: cancelled while a slow reader holds up a write, it must end here and now.
        async def call(request: Any, context: Any) -> None:
            async with _Call(self, rpc, context), aclosing(serve(request_of(request), context)) as responses:
                write = _begin
                async for response in responses:
                    await write(context, response)
                    write = _write

        return call

    async def _watched(self, requests: Any) -> AsyncIterator[Any]:
        """The messages of a client that streams, unless it idles."""
        iterator, seconds = aiter(requests), self._settings.stream_idle_seconds
        while True:
            try:
                async with asyncio.timeout(seconds) as timeout:
                    request = await anext(iterator)
            except StopAsyncIteration:
                return
            except TimeoutError:
                if not timeout.expired():
                    raise
                message = f"the stream idled for {seconds:g} s, which is the most that this server waits for a message"
                raise DeadlineExceeded(message, seconds=f"{seconds:g}") from None
            yield _well_formed(request)

    def enter(self, rpc: Rpc, metadata: Metadata, request_id: str) -> Caller:
        """Let a call in. Raises TooBusy, AccessTokenInvalid, PermissionDenied."""
        if self.in_flight - self.watching > self._settings.max_concurrent_calls and not rpc.is_probe:
            message = (
                f"the server works on {self._settings.max_concurrent_calls} calls, which is its limit; try again in a second"
            )
            raise TooBusy(message, **{RETRY_AFTER: 1})
        if rpc.access is Access.ANONYMOUS:
            return Caller("", access=rpc.access, request_id=request_id)
        claims = self._verifier.verify(_bearer(metadata))
        _admit(rpc, claims.is_service, claims.role)
        return Caller(
            claims.actor,
            claims.team,
            claims.role,
            frozenset(claims.readable_teams),
            claims.is_service,
            rpc.access,
            request_id,
        )

    def count(self, rpc: Rpc, change: int) -> None:
        """Note that a call began or ended."""
        self.in_flight += change
        if rpc.is_watch:
            self.watching += change
        if self.in_flight:
            self._idle.clear()
        else:
            self._idle.set()

    async def idle(self) -> None:
        """Wait until no call is being served."""
        await self._idle.wait()


class _Call:
    """One call, from its beginning to its end."""

    __slots__ = ("_began", "_context", "_interceptor", "_metadata", "_request_id", "_rpc", "_timeout")

    def __init__(self, interceptor: Interceptor, rpc: Rpc, context: Any) -> None:
        self._interceptor = interceptor
        self._rpc = rpc
        self._context = context
        self._began = time.perf_counter()
        self._metadata: Metadata = context.invocation_metadata() or ()
        self._request_id = _request_id(self._metadata)
        self._timeout: asyncio.Timeout | None = None

    async def __aenter__(self) -> None:
        self._interceptor.count(self._rpc, +1)
        try:
            caller = self._interceptor.enter(self._rpc, self._metadata, self._request_id)
        except ModelkeepError as error:
            callers.enter(Caller("", request_id=self._request_id))
            await self._fail(error, peer=self._context.peer())
        callers.enter(caller)
        self._context.set_trailing_metadata(((REQUEST_ID_HEADER, self._request_id),))
        remaining = self._context.time_remaining()
        if remaining is None or remaining > self._rpc.seconds:
            self._timeout = asyncio.timeout(self._rpc.seconds)
            await self._timeout.__aenter__()

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if self._timeout is not None:
            try:
                await self._timeout.__aexit__(kind, error, traceback)
            except TimeoutError as late:
                seconds = self._rpc.seconds
                message = f"the call took longer than the {seconds:g} s that this server allows for it"
                error = DeadlineExceeded(message, seconds=f"{seconds:g}").with_traceback(late.__traceback__)
        if error is None:
            self._end("OK")
        elif isinstance(error, ModelkeepError):
            await self._fail(error)
        elif isinstance(error, grpc.aio.AbortError):
            self._end(_GRPC_CODES[self._context.code()].name)
        elif isinstance(error, NotImplementedError):  # by the generated code, of what is in the contract and not served
            await self._fail(Unimplemented(f"{self._rpc.path} is in the contract, and this server does not serve it"))
        elif isinstance(error, Exception):
            log.error("call failed", method=self._rpc.path, exc_info=error)
            message = "something went wrong inside; the request id finds it in the server's log"
            await self._fail(InternalError(message))
        else:
            self._end("DEADLINE_EXCEEDED" if self._context.time_remaining() == 0 else "CANCELLED")

    async def _fail(self, error: ModelkeepError, **more: str) -> None:
        """End the call with the error. Raises AbortError."""
        self._end(error.code.name, error, **more)
        status = to_status(error)
        trailing = ((REQUEST_ID_HEADER, self._request_id), (DETAILS_HEADER, status.SerializeToString()))
        await self._context.abort(_GRPC_CODES[status.code], status.message, trailing)

    def _end(self, code: str, error: ModelkeepError | None = None, **more: str) -> None:
        seconds = time.perf_counter() - self._began
        self._interceptor.count(self._rpc, -1)
        self._rpc.metrics.ended(code, seconds)
        if error is not None:
            write = log.warning if error.code in _FAULTS else log.info
            reason = getattr(error, "reason", "")
            write(
                "call", method=self._rpc.path, code=code, reason=reason, error=error.message, seconds=round(seconds, 6), **more
            )
        elif self._interceptor.logs_all or code != "OK":
            log.info("call", method=self._rpc.path, code=code, seconds=round(seconds, 6))


async def _begin(context: Any, response: Any) -> None:
    """Send the first response, and the headers by themselves before it.

    grpc takes headers that go with a response for unsent until that is through. It would send them again with the status of a
    call that is ended while a slow reader holds the response up; that fails, and the reader would never hear of the end.
    """
    headers = asyncio.create_task(_sent(context.send_initial_metadata(())))
    try:
        await asyncio.shield(headers)
    except asyncio.CancelledError:
        await asyncio.wait([headers], timeout=_HEADERS_SECONDS)
        raise
    await _write(context, response)


async def _write(context: Any, response: Any) -> None:
    await _sent(context.write(response))


async def _sent(sending: Awaitable[None]) -> None:
    """Wait until it is sent. If it cannot be, the call is over, and grpc is about to cancel who serves it: that is no fault."""
    try:
        await sending
    except grpc.aio.InternalError:
        raise asyncio.CancelledError from None


def _request_id(metadata: Metadata) -> str:
    for key, value in metadata:
        if key == REQUEST_ID_HEADER and isinstance(value, str) and _REQUEST_ID.fullmatch(value):
            return value
    return f"{_ids.getrandbits(128):032x}"


def _bearer(metadata: Metadata) -> str:
    for key, value in metadata:
        if key == "authorization":
            scheme, _, token = value.partition(" ")
            if scheme.lower() == "bearer" and token:
                return str(token)
    message = "the call carries no access token; exchange an API key for one and send it as `authorization: Bearer <token>`"
    raise AccessTokenInvalid(message)


def _admit(rpc: Rpc, is_service: bool, role: Role | None) -> None:
    """Refuse at the door whoever could not do this on any team; the use case says which team it is about."""
    match rpc.access:
        case Access.SERVICE if not is_service:
            raise PermissionDenied("this call is for services; it needs a service token", needs=rpc.access.value)
        case Access.WRITE | Access.ADMIN if role is None or role < Role[rpc.access.name]:
            has = role.name.lower() if role else "no role"
            message = f"this call needs {rpc.access.value}, and the key has {has}; ask an admin of the team for another key"
            raise PermissionDenied(message, needs=rpc.access.value, has=has)


def _well_formed(request: Any) -> Any:
    if request is Malformed:
        raise InvalidArgument("the request is not a message of this method; client and server may have different contracts")
    return request


def _counted(handler: grpc.RpcMethodHandler[Any, Any], rpc: Rpc) -> tuple[Any, Any]:
    """The handler's (de)serializers, which count bytes and never raise."""
    parse, render = handler.request_deserializer, handler.response_serializer
    received, sent = rpc.metrics.received.inc, rpc.metrics.sent.inc

    def deserialize(data: bytes) -> Any:
        received(len(data))
        try:
            return parse(data) if parse else data
        except Exception:  # noqa: BLE001 - protobuf's implementations raise different classes
            return Malformed

    def serialize(message: Any) -> bytes:
        data: bytes = render(message) if render else message
        sent(len(data))
        if len(data) > MAX_MESSAGE_BYTES:
            # grpc ends the call as if its client had left; only this tells that the fault is ours (SEM-27).
            log.error("message too large", method=rpc.path, size_bytes=len(data), most_bytes=MAX_MESSAGE_BYTES)
        return data

    return deserialize, serialize
