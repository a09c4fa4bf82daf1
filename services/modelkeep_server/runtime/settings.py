"""How a process runs: where it listens, whom it trusts, what it logs."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Final, Literal

from pydantic import BaseModel, ConfigDict, Field, SecretStr

DATA_DIR: Final = ".modelkeep"
"""The data folder, unless another one is set."""

Port = Annotated[int, Field(ge=0, le=65535)]
Seconds = Annotated[float, Field(gt=0, le=86400)]


class RuntimeSettings(BaseModel):
    """Settings that every server has. A default path in `.modelkeep` lies in the data folder, wherever that is."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)

    data_dir: Path = Path(DATA_DIR)
    """The data folder: whatever is not set otherwise lies in it."""

    listen: str = "127.0.0.1:7460"
    """Where gRPC listens: `host:port`, or `unix:/path`. Port 0 takes any free one. Anything but the loopback needs TLS."""
    insecure: bool = False
    """Listen beyond the loopback without TLS. Whoever sees the traffic can read all content and every key."""
    tls_certificate_file: Path | None = None
    """The server's certificate chain (PEM). Turns TLS on, together with `tls_key_file`."""
    tls_key_file: Path | None = None
    """The private key of the certificate (PEM)."""
    tls_client_ca_file: Path | None = None
    """Callers must show a certificate signed by one of these authorities (PEM): mutual TLS."""
    tls_ca_file: Path | None = None
    """The authorities (PEM) by which this server checks other services; the system's when unset."""

    signing_key_file: Path = Path(f"{DATA_DIR}/signing-key.pem")
    """The private key that signs access tokens (PEM, Ed25519). Only the metadata service reads it."""
    public_key_files: tuple[Path, ...] = (Path(f"{DATA_DIR}/signing-key.pub.pem"),)
    """The public keys that access tokens are verified with (PEM); a file may hold several, two during a rotation."""
    token_seconds: Annotated[int, Field(ge=1, le=60)] = 60
    """How long an access token lives, and so how long a revoked key may still be used: at most 60 s."""
    service_key: SecretStr | None = None
    """The key by which a service other than metadata gets its own access tokens."""

    blob_url: str = "grpc://127.0.0.1:7460"
    """Where other services find blob: `grpc://host:port`, `grpcs://host:port` (TLS) or `unix:/path`. `serve all` ignores it."""
    metadata_url: str = "grpc://127.0.0.1:7460"
    """Where other services find metadata. `serve all` ignores it."""
    lineage_url: str = "grpc://127.0.0.1:7460"
    """Where other services find lineage. `serve all` ignores it."""
    peer_call_seconds: Seconds = 60
    """How long a call from one service to another may take, when its caller did not say."""

    reflection: bool = True
    """Answer gRPC reflection, by which tools learn the contract from the server."""
    max_concurrent_calls: Annotated[int, Field(ge=1)] = 1000
    """Calls served at once; further ones are answered TOO_BUSY. Streams that watch an alias do not count."""
    max_unary_seconds: Seconds = 300
    """The deadline of a call that brings none, and the most that one may bring."""
    max_stream_seconds: Seconds = 3600
    """The same for a call that streams in either direction."""
    stream_idle_seconds: Seconds = 60
    """How long a client that streams may send nothing."""
    max_connection_age_seconds: Seconds = 300
    """How old a connection becomes, so that clients spread over new replicas; its calls are finished first."""
    keepalive_seconds: Seconds = 60
    """How long a connection is silent before the server asks whether the client is still there."""
    readiness_seconds: Seconds = 5
    """How often the health service asks each service whether its database and store answer."""
    drain_notice_seconds: Annotated[float, Field(ge=0, le=300)] = 0
    """How long health says NOT_SERVING before the server stops to accept calls, for balancers that poll."""
    drain_seconds: Annotated[float, Field(ge=0, le=3600)] = 30
    """How long calls may go on after SIGTERM before they are cancelled."""

    metrics_host: str = "127.0.0.1"
    """Where the Prometheus metrics listen."""
    metrics_port: Port = 9464
    """The port of the Prometheus metrics; 0 turns them off, which is the default of `serve all`."""
    log_level: Literal["debug", "info", "warning", "error"] = "info"
    """The least important lines that are logged."""
    log_format: Literal["auto", "json", "console"] = "auto"
    """JSON lines or text for people; `auto` is text on a terminal. Logs go to stderr."""
    log_calls: Literal["all", "failed"] = "failed"
    """Log every call, or those that failed."""
