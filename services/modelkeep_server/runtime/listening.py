"""Where a server listens and how it proves itself: addresses, TLS, and what may not be exposed."""

from __future__ import annotations

import ipaddress
import socket
import ssl
from dataclasses import dataclass
from pathlib import Path
from typing import Self

import grpc

from modelkeep_server.runtime.lifecycle import CannotStart
from modelkeep_server.runtime.settings import RuntimeSettings


@dataclass(frozen=True, slots=True)
class Address:
    """Where a server listens."""

    host: str
    """A host, or the path of a Unix socket."""
    port: int = 0
    is_unix: bool = False

    @classmethod
    def parse(cls, text: str) -> Self:
        """From `host:port`, `[ipv6]:port` or `unix:/path`. Raises CannotStart."""
        if text.startswith("unix:"):
            return cls(text.removeprefix("unix:"), is_unix=True)
        host, separator, port = text.rpartition(":")
        if not (separator and host and port.isdecimal() and int(port) <= 65535):
            raise CannotStart(f"cannot listen on {text!r}; write host:port, with port 0 for any free one, or unix:/path")
        return cls(host.removeprefix("[").removesuffix("]"), int(port))

    @property
    def is_local(self) -> bool:
        """Whether only this machine can reach it."""
        if self.is_unix or self.host == "localhost":
            return True
        try:
            return ipaddress.ip_address(self.host).is_loopback
        except ValueError:
            return False

    def url(self, *, tls: bool) -> str:
        """The URL by which clients on this machine reach it."""
        if self.is_unix:
            return f"unix:{self.host}"
        host = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(self.host, self.host)  # noqa: S104 - compared, not bound
        return f"{'grpcs' if tls else 'grpc'}://{f'[{host}]' if ':' in host else host}:{self.port}"

    def __str__(self) -> str:
        if self.is_unix:
            return f"unix:{self.host}"
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


def refuse_taken(address: Address) -> None:
    """Raises CannotStart when nothing can listen there, with the reason, which gRPC would not tell."""
    if address.is_unix or not address.port:
        return
    advice = "choose another address with --listen, or another port with --port"
    try:
        found = socket.getaddrinfo(address.host, address.port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
    except OSError as error:
        raise CannotStart(f"cannot listen on {address}: {error.strerror}; {advice}") from error
    reason: OSError | None = None
    for family, kind, protocol, _name, where in found:
        try:
            with socket.socket(family, kind, protocol) as probe:
                probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                probe.bind(where)
                return
        except OSError as error:
            reason = error
    raise CannotStart(f"cannot listen on {address}: {reason.strerror if reason else 'no such address'}; {advice}") from reason


def refuse_exposure(settings: RuntimeSettings) -> None:
    """Raises CannotStart when keys and content would travel in the clear beyond this machine, and nobody said they may."""
    if settings.insecure or Address.parse(settings.listen).is_local or settings.tls_certificate_file:
        return
    message = (
        f"refuses to listen on {settings.listen} without TLS: everyone on the way could read keys and content. Set "
        "runtime.tls_certificate_file and runtime.tls_key_file, or listen on 127.0.0.1, or say --insecure where something else "
        "encrypts the traffic"
    )
    raise CannotStart(message)


def server_credentials(settings: RuntimeSettings) -> grpc.ServerCredentials | None:
    """The TLS of the server; None when there is none. Raises CannotStart when half of it is missing."""
    if not settings.tls_certificate_file and not settings.tls_key_file:
        if settings.tls_client_ca_file:
            raise CannotStart("runtime.tls_client_ca_file needs runtime.tls_certificate_file and runtime.tls_key_file too")
        return None
    if not (settings.tls_certificate_file and settings.tls_key_file):
        raise CannotStart("TLS needs both runtime.tls_certificate_file and runtime.tls_key_file")
    pair = (read(settings.tls_key_file, "tls_key_file"), read(settings.tls_certificate_file, "tls_certificate_file"))
    authorities = read(settings.tls_client_ca_file, "tls_client_ca_file") if settings.tls_client_ca_file else None
    _refuse_unusable(settings.tls_certificate_file, settings.tls_key_file, settings.tls_client_ca_file)
    return grpc.ssl_server_credentials([pair], authorities, require_client_auth=authorities is not None)


def _refuse_unusable(certificate: Path, key: Path, authorities: Path | None) -> None:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    try:
        context.load_cert_chain(certificate, key, password="")  # of a key with a password nobody is asked for it
    except ssl.SSLError as error:
        message = (
            f"runtime.tls_certificate_file = {certificate} and runtime.tls_key_file = {key} are no pair ({error.reason}); "
            "expected a certificate chain and its private key without a password, both PEM"
        )
        raise CannotStart(message) from error
    try:
        if authorities:
            context.load_verify_locations(authorities)
    except ssl.SSLError as error:
        message = f"there is no certificate (PEM) in runtime.tls_client_ca_file = {authorities} ({error.reason})"
        raise CannotStart(message) from error


def peer_credentials(settings: RuntimeSettings) -> grpc.ChannelCredentials:
    """The TLS towards other services: their authorities, and this server's certificate for those who ask for one."""
    authorities = read(settings.tls_ca_file, "tls_ca_file") if settings.tls_ca_file else None
    if settings.tls_certificate_file and settings.tls_key_file:
        key = read(settings.tls_key_file, "tls_key_file")
        return grpc.ssl_channel_credentials(authorities, key, read(settings.tls_certificate_file, "tls_certificate_file"))
    return grpc.ssl_channel_credentials(authorities)


def read(path: Path, setting: str) -> bytes:
    """A file that a setting names. Raises CannotStart."""
    try:
        return path.read_bytes()
    except OSError as error:
        raise CannotStart(f"cannot read runtime.{setting} = {path}: {error.strerror}") from error
