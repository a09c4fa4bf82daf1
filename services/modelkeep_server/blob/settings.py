"""The settings of the blob service."""

from __future__ import annotations

from typing import Self

from pydantic import BaseModel, ConfigDict, Field, SecretStr, model_validator


class BlobSettings(BaseModel):
    """Where chunks and their index are kept, and the limits of the service."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)

    database_url: str = "sqlite:///./.modelkeep/blob.sqlite"
    """The index of chunks: `sqlite:///relative/file`, `sqlite:////absolute/file` or `postgresql://user:password@host/database`."""
    database_pool_size: int = Field(default=10, ge=1, le=1000)
    """Most connections to the database; each transaction takes one, and further ones wait."""
    store_url: str = "file:./.modelkeep/blobs"
    """The bytes: `file:./relative/folder`, `file:///absolute/folder`, `s3://bucket/prefix`, or `memory:` (lost at exit)."""
    s3_endpoint: str = "https://s3.amazonaws.com"
    """The S3 store as this service reaches it: `https://host[:port]`, or `http://…` inside a trusted network."""
    s3_public_endpoint: str = ""
    """The same store as clients reach it. URLs are signed for this host; empty means the same as `s3_endpoint`."""
    s3_region: str = "us-east-1"
    """The region of the bucket."""
    s3_access_key: str = ""
    """The access key of the S3 store."""
    s3_secret_key: SecretStr = SecretStr("")
    """The secret key of the S3 store."""
    s3_direct: bool = True
    """Send clients to the S3 store with signed URLs; false lets all bytes go through this service."""
    staging: bool = True
    """Let clients of the same host and user leave chunks in a folder of the store instead of sending them (`file:` only)."""
    average_chunk_bytes: int = Field(default=1 << 20, ge=64 << 10, le=4 << 20)
    """The average size of the chunks that clients should cut where the content of a file decides."""
    block_bytes: int = Field(default=2 << 20, ge=64 << 10, le=16 << 20)
    """The size of the blocks that clients should cut where it does not, as inside a tensor."""
    pack_bytes: int = Field(default=1 << 20, ge=0, le=16 << 20)
    """Files up to this size share chunks of at most this size; 0 gives every file chunks of its own."""
    lease_seconds: int = Field(default=3600, ge=60, le=7 * 86400)
    """How long content is protected after the last sign of life of an upload."""
    url_seconds: int = Field(default=900, ge=10, le=86400)
    """How long a signed URL may be used; never longer than what its lease has left."""
    idle_seconds: float = Field(default=60, gt=0)
    """How long a Write stream may send nothing before it is ended."""
    max_streams: int = Field(default=64, ge=1)
    """Most Write streams, and most Read streams, at a time; beyond it callers are told to come back."""
    max_pending_bytes: int = Field(default=256 << 20, ge=32 << 20)
    """Most bytes that were received and are not yet durable; beyond it streams wait, and then are told to come back."""
    io_threads: int = Field(default=16, ge=1, le=256)
    """Threads for the disk or the S3 store."""

    @model_validator(mode="after")
    def _lease_outlives_urls(self) -> Self:
        if self.url_seconds > self.lease_seconds:
            raise ValueError(f"url_seconds ({self.url_seconds}) must not exceed lease_seconds ({self.lease_seconds}) (SEM-25)")
        return self
