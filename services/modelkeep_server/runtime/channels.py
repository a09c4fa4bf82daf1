"""How a service reaches another one: always through its stubs, also within one process.

A channel from here adds to every call what calls between services need: this process's own service token, the id of the call
that is being served, and a deadline. What fails is raised as a class of `modelkeep.errors`, so that `except ChunksMissing`
means the same in a use case, in a peer and in a user's notebook.
"""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import AsyncIterable, AsyncIterator, Awaitable, Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Final, Self
from urllib.parse import urlsplit

import grpc
import grpc.aio
from modelkeep._status import REQUEST_ID_HEADER, from_rpc_error
from modelkeep.api.metadata.v1 import metadata_service_pb2 as pb
from modelkeep.api.metadata.v1 import metadata_service_pb2_grpc as rpc
from modelkeep.errors import ServiceUnavailable, Unauthenticated

from modelkeep_server.runtime import callers
from modelkeep_server.runtime.tokens import Claims, Signer

if TYPE_CHECKING:
    from types import TracebackType

MAX_MESSAGE_BYTES: Final = 4 * 1024 * 1024
"""Most bytes in one message, either way."""

TokenSource = Callable[[], Awaitable[str]]
"""Gives an access token that is good for a while yet."""

_STATUS_LOST: Final = "Internal error from Core"
"""What grpc's asyncio client says when a stream ended while it still wrote: it overwrites the status that the server sent
(grpc/grpc#36066). Only another try can tell."""

_OPTIONS: Final = (
    ("grpc.max_receive_message_length", MAX_MESSAGE_BYTES),
    ("grpc.max_send_message_length", MAX_MESSAGE_BYTES),
    ("grpc.keepalive_time_ms", 60_000),
    ("grpc.enable_http_proxy", 0),  # services reach each other directly, whatever the environment says of proxies
    ("grpc.service_config", json.dumps({"loadBalancingConfig": [{"round_robin": {}}]})),
)


def signed_tokens(signer: Signer, service: str) -> TokenSource:
    """Tokens of `services/{service}`, signed by this process itself."""
    return _Renewed(lambda: _signed(signer, service))


def exchanged_tokens(key: str, metadata: grpc.aio.Channel) -> TokenSource:
    """Tokens that metadata gives for a service's API key."""
    return _Renewed(lambda: _exchanged(key, metadata))


async def _signed(signer: Signer, service: str) -> tuple[str, float]:
    return signer.sign(Claims(f"services/{service}", is_service=True)), signer.lifetime_seconds


async def _exchanged(key: str, metadata: grpc.aio.Channel) -> tuple[str, float]:
    stub = rpc.MetadataServiceStub(metadata)  # type: ignore[no-untyped-call,unused-ignore]
    response = await stub.ExchangeApiKey(pb.ExchangeApiKeyRequest(secret=key), timeout=30)
    return response.access_token, response.lifetime.ToTimedelta().total_seconds()


class _Renewed:
    """A token that is replaced when two thirds of its life are over. Callers that come meanwhile wait for the same one."""

    def __init__(self, renew: Callable[[], Awaitable[tuple[str, float]]]) -> None:
        self._renew = renew
        self._lock = asyncio.Lock()
        self._token, self._good_until = "", 0.0

    async def __call__(self) -> str:
        if time.monotonic() >= self._good_until:
            async with self._lock:
                if time.monotonic() >= self._good_until:
                    asked = time.monotonic()
                    self._token, lifetime = await self._renew()
                    self._good_until = asked + lifetime * 2 / 3
        return self._token


class Channels:
    """The channels to other services, by their names. They connect when they are first used."""

    def __init__(
        self,
        urls: Mapping[str, str],
        tokens: TokenSource,
        *,
        credentials: grpc.ChannelCredentials | None = None,
        deadline_seconds: float = 60,
    ) -> None:
        """`urls` says where each service is; `credentials` are those for `grpcs:`, by default the system's authorities."""
        self._urls = urls
        self._tokens = tokens
        self._credentials = credentials
        self._deadline_seconds = deadline_seconds
        self._open: dict[str, PeerChannel] = {}

    def to(self, service: str) -> grpc.aio.Channel:
        """The channel to `service`: `blob`, `metadata` or `lineage`."""
        if service not in self._open:
            plain = connect(self._urls[service], self._credentials)
            self._open[service] = PeerChannel(plain, service, self._tokens, self._deadline_seconds)
        return self._open[service]

    async def close(self) -> None:
        """Close all channels; calls under way end with an error."""
        for channel in self._open.values():
            await channel.close()
        self._open.clear()


def connect(url: str, credentials: grpc.ChannelCredentials | None = None) -> grpc.aio.Channel:
    """A channel to `grpc://host:port`, `grpcs://host:port` or `unix:/path`, which adds nothing to its calls.

    Raises ValueError for another URL.
    """
    parts = urlsplit(url)
    match parts.scheme:
        case "grpc" if parts.netloc:
            return grpc.aio.insecure_channel(f"dns:///{parts.netloc}", options=_OPTIONS)
        case "grpcs" if parts.netloc:
            return grpc.aio.secure_channel(f"dns:///{parts.netloc}", credentials or grpc.ssl_channel_credentials(), _OPTIONS)
        case "unix":
            return grpc.aio.insecure_channel(url, options=_OPTIONS)
    raise ValueError(f"{url!r} is not the URL of a service; write grpc://host:port, grpcs://host:port or unix:/path")


class PeerChannel(grpc.aio.Channel):
    """A channel whose calls carry token, request id and deadline, and fail with the classes of `modelkeep.errors`."""

    def __init__(self, channel: grpc.aio.Channel, service: str, tokens: TokenSource, deadline_seconds: float) -> None:
        self._channel = channel
        self._service = service
        self._tokens = tokens
        self._deadline_seconds = deadline_seconds

    def unary_unary(self, *args: Any, **kwargs: Any) -> Any:
        """One request, one response."""
        return self._one(self._channel.unary_unary(*args, **kwargs))

    def stream_unary(self, *args: Any, **kwargs: Any) -> Any:
        """Many requests, one response."""
        return self._one(self._channel.stream_unary(*args, **kwargs))

    def unary_stream(self, *args: Any, **kwargs: Any) -> Any:
        """One request, many responses."""
        return self._many(self._channel.unary_stream(*args, **kwargs))

    def stream_stream(self, *args: Any, **kwargs: Any) -> Any:
        """Many requests, many responses."""
        return self._many(self._channel.stream_stream(*args, **kwargs))

    def _one(self, method: Any) -> Callable[..., Awaitable[Any]]:
        async def call(request: Any, *, timeout: float | None = None) -> Any:  # noqa: ASYNC109 - grpc's own name
            with self._raising():
                return await method(request, timeout=timeout or self._deadline_seconds, metadata=await self._metadata())

        return call

    def _many(self, method: Any) -> Callable[..., AsyncIterable[Any]]:
        async def call(request: Any, *, timeout: float | None = None) -> AsyncIterator[Any]:  # noqa: ASYNC109 - as above
            with self._raising():
                responses = method(request, timeout=timeout or self._deadline_seconds, metadata=await self._metadata())
                try:
                    async for response in responses:
                        yield response
                finally:
                    responses.cancel()  # where the caller stopped reading; else it does nothing

        return call

    async def _metadata(self) -> tuple[tuple[str, str], ...]:
        authorization = ("authorization", f"Bearer {await self._tokens()}")
        caller = callers.serving()
        return (authorization, (REQUEST_ID_HEADER, caller.request_id)) if caller and caller.request_id else (authorization,)

    @contextmanager
    def _raising(self) -> Iterator[None]:
        try:
            yield
        except grpc.aio.AioRpcError as failed:
            if failed.details() == _STATUS_LOST:
                raise ServiceUnavailable(f"the stream to {self._service} broke; try again", service=self._service) from failed
            error = from_rpc_error(failed)
            if isinstance(error, Unauthenticated):
                # The caller's own token is good, so this must not look as if it were not.
                message = f"{self._service} does not accept this service's own token; check its public keys, and both clocks"
                raise ServiceUnavailable(message, service=self._service) from error
            raise error from failed

    async def close(self, grace: float | None = None) -> None:
        """Close the channel."""
        await self._channel.close(grace)

    def get_state(self, try_to_connect: bool = False) -> grpc.ChannelConnectivity:
        """The state of the connection."""
        return self._channel.get_state(try_to_connect)

    async def wait_for_state_change(self, last_observed_state: grpc.ChannelConnectivity) -> None:
        """Wait until the state is another one."""
        await self._channel.wait_for_state_change(last_observed_state)

    async def channel_ready(self) -> None:
        """Wait until the connection stands."""
        await self._channel.channel_ready()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self.close()
