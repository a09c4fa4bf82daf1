"""How the SDK reaches a server: target, credentials, deadlines, retries, status → error.

`Connection.metadata`, `.blob` and `.lineage` look like the generated stubs. Each of their calls carries an access token, a
request id and a deadline, is tried again where that is harmless, and fails with the classes of `modelkeep.errors`. Every
unary RPC of the contract may be repeated: it reads, or carries a `request_id`, or answers with the present state (SEM-14).
"""

from __future__ import annotations

import json
import math
import threading
import time
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, TypeVar, cast
from uuid import uuid4
from weakref import WeakValueDictionary

import grpc

from modelkeep._fork import gate
from modelkeep._retry import Retry
from modelkeep._status import DETAILS_HEADER, REQUEST_ID_HEADER, from_rpc_error
from modelkeep.api.blob.v1 import blob_service_pb2 as blob_pb
from modelkeep.api.blob.v1 import blob_service_pb2_grpc as blob_rpc
from modelkeep.api.lineage.v1 import lineage_service_pb2 as lineage_pb
from modelkeep.api.lineage.v1 import lineage_service_pb2_grpc as lineage_rpc
from modelkeep.api.metadata.v1 import metadata_service_pb2 as pb
from modelkeep.api.metadata.v1 import metadata_service_pb2_grpc as rpc
from modelkeep.config import Endpoint, key_of_next_start
from modelkeep.errors import (
    AccessTokenInvalid,
    ApiKeyInvalid,
    DeadlineExceeded,
    InvalidArgument,
    ModelkeepError,
    PermissionDenied,
    ServiceUnavailable,
    Unimplemented,
)
from modelkeep.names import ProjectName, TeamName

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from google.protobuf.message import Message

    from modelkeep.config import Config

T = TypeVar("T")

FIRST_CONTACT_SECONDS: Final = 5.0
"""How long to try to reach a server that never answered yet: that is a wrong address more often than a restart."""
STREAM_SECONDS: Final = 120.0
"""The deadline of a stream, besides the time that its bytes may take."""
SLOWEST_BYTES_PER_SECOND: Final = 128 * 1024
"""What a stream may always take its time for."""
MAX_MESSAGE_BYTES: Final = 4 * 1024 * 1024
"""Most bytes in one message, either way."""


def stream_seconds(size_bytes: int) -> float:
    """The deadline of a stream that carries so many bytes."""
    return STREAM_SECONDS + size_bytes / SLOWEST_BYTES_PER_SECOND


class _Stubs:
    """The channels of one process, and the generated stubs on them."""

    def __init__(self, config: Config) -> None:
        self._channels = {url: _open_channel(config, url) for url in {config.url, config.blob_url, config.lineage_url} - {""}}
        main = self._channels[config.url]
        self.metadata = rpc.MetadataServiceStub(main)
        self.blob = blob_rpc.BlobServiceStub(self._channels.get(config.blob_url, main))
        self.lineage = lineage_rpc.LineageServiceStub(self._channels.get(config.lineage_url, main))

    def close(self) -> None:
        for channel in self._channels.values():
            channel.close()


def _open_channel(config: Config, url: str) -> grpc.Channel:
    endpoint = Endpoint.parse(url)
    options: list[tuple[str, Any]] = [
        ("grpc.max_receive_message_length", MAX_MESSAGE_BYTES),
        ("grpc.max_send_message_length", MAX_MESSAGE_BYTES),
        ("grpc.keepalive_time_ms", 60_000),
        ("grpc.keepalive_timeout_ms", 20_000),
        ("grpc.initial_reconnect_backoff_ms", 100),
        ("grpc.max_reconnect_backoff_ms", 5_000),
        # Not shared with other channels of the process: a fork has to be able to close it.
        ("grpc.use_local_subchannel_pool", 1),
        ("grpc.service_config", json.dumps({"loadBalancingConfig": [{"round_robin": {}}]})),
    ]
    if endpoint.loopback:
        options.append(("grpc.enable_http_proxy", 0))
    if not endpoint.tls:
        return grpc.insecure_channel(endpoint.target, options)
    credentials = grpc.ssl_channel_credentials(*(_pem(path) for path in (config.ca_file, config.key_file, config.cert_file)))
    return grpc.secure_channel(endpoint.target, credentials, options)


def _pem(path: str) -> bytes | None:
    if not path:
        return None
    try:
        return Path(path).read_bytes()
    except OSError as error:
        raise InvalidArgument(f"{path} cannot be read: {error.strerror}", field="tls", value=path) from None


class _Token:
    """The access token, renewed a while before it ends."""

    def __init__(self, exchange: Callable[[], pb.ExchangeApiKeyResponse]) -> None:
        self._exchange = exchange
        self._lock = threading.RLock()  # a signal handler may end a run while the thread that it interrupts has it
        self._text, self.team = "", ""
        self._renew_from, self._good_until = 0.0, 0.0

    def get(self) -> str:
        """A token that is good for a while yet. While one thread renews it early, the others go on with the old one."""
        now = time.monotonic()
        if now < self._renew_from:
            return self._text
        if not self._lock.acquire(blocking=now >= self._good_until):
            return self._text
        try:
            if time.monotonic() >= self._renew_from:
                self._renew()
            return self._text
        finally:
            self._lock.release()

    def discard(self, text: str) -> None:
        """Never use this token again: a server refused it."""
        with self._lock:
            if text == self._text:
                self._renew_from = self._good_until = 0.0

    def _renew(self) -> None:
        asked = time.monotonic()
        answer = self._exchange()
        lifetime = answer.lifetime.ToTimedelta().total_seconds()
        self._text, self.team = answer.access_token, answer.team
        self._renew_from, self._good_until = asked + lifetime * 2 / 3, asked + lifetime * 0.95


class Connection:
    """A server, as one process with any number of threads uses it. A forked child goes on with channels of its own."""

    def __init__(self, config: Config) -> None:
        self.config = config
        self.metadata = cast("rpc.MetadataServiceStub", _Door(self, "metadata", pb.DESCRIPTOR, "MetadataService"))
        self.blob = cast("blob_rpc.BlobServiceStub", _Door(self, "blob", blob_pb.DESCRIPTOR, "BlobService"))
        self.lineage = cast("lineage_rpc.LineageServiceStub", _Door(self, "lineage", lineage_pb.DESCRIPTOR, "LineageService"))
        self._reached: set[str] = set()
        """The addresses that answered."""
        self._api_key = config.api_key
        self.forget()
        gate.members.add(self)

    def __reduce__(self) -> tuple[object, tuple[Config]]:
        return connect, (self.config,)  # a version that is sent to another process finds its server there

    def forget(self) -> None:
        """Begin anew, with fresh locks; for a forked child."""
        self._lock = threading.RLock()
        self._opened: _Stubs | None = None
        self._token = _Token(self._exchange)
        self._limits: blob_pb.Capabilities | None = None
        self._metadata_limits: pb.Capabilities | None = None
        self._lineage_limits: lineage_pb.Capabilities | None = None

    def close_channels(self) -> bool:
        """Give up the connections, and say whether there were any. The next call opens new ones."""
        with self._lock:
            opened, self._opened = self._opened, None
        if opened is not None:
            opened.close()
        return opened is not None

    @property
    def team(self) -> str:
        """The team that is meant when none is named: the configured one, else the key's."""
        if self.config.team:
            return self.config.team
        self._token.get()
        if not self._token.team:
            message = "this key belongs to no team; say which one you mean: team=… or MODELKEEP_TEAM"
            raise PermissionDenied(message)
        return TeamName.parse(self._token.team).team

    @property
    def project(self) -> ProjectName:
        """The project that is meant when none is named."""
        return ProjectName(self.team, self.config.project)

    def limits(self) -> blob_pb.Capabilities:
        """The limits and abilities of the blob server; asked once."""
        if self._limits is None:
            self._limits = self.blob.GetCapabilities(blob_pb.GetCapabilitiesRequest())
        return self._limits

    def metadata_limits(self) -> pb.Capabilities:
        """The limits of the metadata server; asked once."""
        if self._metadata_limits is None:
            self._metadata_limits = self.metadata.GetCapabilities(pb.GetCapabilitiesRequest())
        return self._metadata_limits

    def lineage_limits(self) -> lineage_pb.Capabilities:
        """The limits of the lineage server; asked once."""
        if self._lineage_limits is None:
            self._lineage_limits = self.lineage.GetCapabilities(lineage_pb.GetCapabilitiesRequest())
        return self._lineage_limits

    def patience_seconds(self, service: str) -> float:
        """How long to try to reach a service: not for long as long as nobody ever answered at its address."""
        return math.inf if self.config.url_of(service) in self._reached else FIRST_CONTACT_SECONDS

    def attempt(self, service: str, method: str, request: Any, timeout_seconds: float, request_id: str) -> Any:
        """One try of one call, until its response is here. Raises ModelkeepError."""
        token = "" if method == "ExchangeApiKey" else self._token.get()
        with gate.call():
            stub = getattr(getattr(self._stubs(), service), method)
            try:
                response = stub(request, timeout=timeout_seconds, metadata=_headers(token, request_id))
            except grpc.RpcError as failed:
                raise self._failure(failed, service, method, token, request_id) from None
        self._reached.add(self.config.url_of(service))
        return response

    def stream(
        self,
        service: str,
        method: str,
        request: Any,
        timeout_seconds: float,
        request_id: str,
        *,
        started: Callable[[Any], object] = bool,
    ) -> Iterator[Any]:
        """One call with many responses. Raises ModelkeepError, also midway.

        `started` gets the call, which another thread may cancel.
        """
        gate.require_usable()
        token = self._token.get()
        with gate.call():
            stub = getattr(getattr(self._stubs(), service), method)
            responses = stub(request, timeout=timeout_seconds, metadata=_headers(token, request_id))
            try:
                started(responses)
                yield from responses
            except grpc.RpcError as failed:
                raise self._failure(failed, service, method, token, request_id) from None
            finally:
                responses.cancel()  # where the caller stopped reading; else it does nothing

    def _stubs(self) -> _Stubs:
        with self._lock:
            if self._opened is None:
                self._opened = _Stubs(self.config)
            return self._opened

    def _exchange(self) -> pb.ExchangeApiKeyResponse:
        try:
            return self.metadata.ExchangeApiKey(pb.ExchangeApiKeyRequest(secret=self._api_key))
        except ApiKeyInvalid:
            api_key = key_of_next_start(self.config)
            if api_key in {"", self._api_key}:
                raise
            self._api_key = api_key
        return self.metadata.ExchangeApiKey(pb.ExchangeApiKeyRequest(secret=self._api_key))

    def _failure(self, failed: grpc.RpcError, service: str, method: str, token: str, request_id: str) -> ModelkeepError:
        url = self.config.url_of(service)
        error = from_rpc_error(failed)
        trailers = cast("Any", failed).trailing_metadata() or ()
        keys = {key for key, _ in trailers}
        answered = not keys.isdisjoint({DETAILS_HEADER, REQUEST_ID_HEADER})
        if answered:
            self._reached.add(url)
        if isinstance(error, AccessTokenInvalid):
            self._token.discard(token)
        elif isinstance(error, ServiceUnavailable) and not answered:
            why = error.message[:300]
            tls = ", MODELKEEP_CA_FILE, and MODELKEEP_CERT_FILE if it asks for one" if url.startswith("grpcs:") else ""
            message = f"{url} cannot be reached ({why}); check that it runs, and the address{tls}"
            error = ServiceUnavailable(message, url=url)
        elif isinstance(error, DeadlineExceeded) and not answered:
            error = DeadlineExceeded(f"{url} did not answer {method} in time", url=url, method=method)
        elif isinstance(error, Unimplemented) and DETAILS_HEADER not in keys:
            error = _not_served(url, service, method)
        error.request_id = error.request_id or request_id
        return error


def _not_served(url: str, service: str, method: str) -> Unimplemented:
    """What gRPC itself says of a method that nobody serves names neither the method nor the way out."""
    setting = {"blob": "MODELKEEP_BLOB_URL", "lineage": "MODELKEEP_LINEAGE_URL"}.get(service, "MODELKEEP_URL")
    message = (
        f"{url} does not serve {method} of the {service} service; either the server is older than this client: upgrade it, "
        f"or the {service} service has another address: set {setting}"
    )
    return Unimplemented(message, url=url, service=service, method=method)


def _headers(token: str, request_id: str) -> tuple[tuple[str, str], ...]:
    headers = ((REQUEST_ID_HEADER, request_id),)
    return (*headers, ("authorization", f"Bearer {token}")) if token else headers


class _Door:
    """Has the methods of one generated stub, each with all that a call needs."""

    def __init__(self, connection: Connection, service: str, file: Any, name: str) -> None:
        self._connection = connection
        self._service = service
        self._methods = file.services_by_name[name].methods_by_name

    def __getattr__(self, name: str) -> Any:
        method = self._methods.get(name)
        if method is None:
            raise AttributeError(name)
        call: Callable[..., Any] = self._sent if method.client_streaming else self._one
        bound = partial(self._many if method.server_streaming else call, name)
        setattr(self, name, bound)
        return bound

    def _one(self, method: str, request: Message, *, timeout: float | None = None) -> Any:
        """A unary call, with its tries."""
        if "request_id" in request.DESCRIPTOR.fields_by_name and not cast("Any", request).request_id:
            cast("Any", request).request_id = str(uuid4())  # the same for each try: whatever came through counts once
        attempt = partial(self._connection.attempt, self._service, method, request)
        return retrying(self._connection, self._service, attempt, timeout or self._connection.config.timeout_seconds)

    def _sent(self, method: str, requests: Iterator[Message], *, timeout: float = STREAM_SECONDS) -> Any:
        """A stream of requests, tried once: who made the stream knows whether and from where to repeat it."""
        return self._connection.attempt(self._service, method, requests, timeout, uuid4().hex)

    def _many(self, method: str, request: Message, *, timeout: float = STREAM_SECONDS) -> Iterator[Any]:
        """A stream of responses, tried once: who reads it knows how far it came."""
        return self._connection.stream(self._service, method, request, timeout, uuid4().hex)


def retrying(connection: Connection, service: str, attempt: Callable[[float, str], T], timeout_seconds: float) -> T:
    """Repeat `attempt(seconds left, request id)` until it succeeds or no further try may help. Raises ModelkeepError.

    Only for what is harmless to repeat. A token that was refused is renewed once.
    """
    gate.require_usable()
    retry, request_id, renewed = Retry(timeout_seconds), uuid4().hex, False
    while True:
        try:
            return attempt(retry.left_seconds(), request_id)
        except AccessTokenInvalid:
            if renewed:
                raise
            renewed = True
        except ModelkeepError as error:
            retry.pause(error, connection.patience_seconds(service))


_connections: WeakValueDictionary[Config, Connection] = WeakValueDictionary()


def connect(config: Config) -> Connection:
    """The connection of this process for these settings; while somebody has it, asking again gives the same one."""
    return _connections.get(config) or _connections.setdefault(config, Connection(config))
