"""A bucket of an S3 store, as blocking calls: minio-py where it fits, signed URLs where it would hold a chunk in memory."""

from __future__ import annotations

import os
import re
from contextlib import contextmanager
from dataclasses import dataclass
from typing import IO, TYPE_CHECKING, Final
from urllib.parse import urlsplit
from xml.etree.ElementTree import ParseError

import certifi
import urllib3
from minio import Minio
from minio.deleteobjects import DeleteObject
from minio.error import InvalidResponseError, MinioException, S3Error, ServerError
from modelkeep.errors import ServiceUnavailable, StorageFull, TooBusy

from modelkeep_server.blob.backends import layout

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping
    from datetime import timedelta

    from modelkeep.digest import Digest

_BUSY_SECONDS: Final = 5
"""How long a caller should wait whom a store at its limit sent away, unless the store says so itself, …"""
_LONGEST_SECONDS: Final = 60
"""… and then at most this long."""
_BUSY: Final = {"SlowDown", "SlowDownRead", "SlowDownWrite", "TooManyRequests", "RequestLimitExceeded", "ServiceUnavailable"}
_BUSY_STATUS: Final = {429, 503}
_FULL: Final = {"InsufficientStorage", "QuotaExceeded", "XMinioStorageFull", "XMinioAdminBucketQuotaExceeded"}
_ABSENT: Final = {"NoSuchKey", "NotFound"}
_STATUS = re.compile(r"code:? (\d{3})")
_CODE = re.compile(rb"<Code>([A-Za-z0-9]{1,64})</Code>")


@dataclass(frozen=True)
class S3Address:
    """Where a bucket is, and who we are there."""

    bucket: str
    prefix: str
    endpoint: str
    public_endpoint: str
    region: str
    access_key: str
    secret_key: str

    def __repr__(self) -> str:
        return f"S3Address(s3://{self.bucket}/{self.prefix} at {self.endpoint})"


class Bucket:
    """The objects below one prefix of a bucket. Errors are StorageFull and ServiceUnavailable; no message holds a signature."""

    def __init__(self, address: S3Address, *, connections: int, backoff_seconds: float = 0.2) -> None:
        self._name = address.bucket
        self._prefix = f"{address.prefix.strip('/')}/" if address.prefix.strip("/") else ""
        self._http = urllib3.PoolManager(
            maxsize=connections,
            timeout=urllib3.Timeout(connect=5, read=60),
            # What a store says in Retry-After is passed on to the caller, and no thread waits for it.
            retries=urllib3.Retry(
                total=3,
                backoff_factor=backoff_seconds,
                backoff_jitter=backoff_seconds,
                status_forcelist=(429, 500, 502, 503, 504),
                raise_on_status=False,
                respect_retry_after_header=False,
            ),
            cert_reqs="CERT_REQUIRED",
            ca_certs=os.environ.get("SSL_CERT_FILE") or certifi.where(),
        )
        self._client = self._minio(address, address.endpoint)
        self._public = self._minio(address, address.public_endpoint or address.endpoint)

    def path(self, key: str) -> str:
        """Bucket and key, as `x-amz-copy-source` wants them."""
        return f"/{self._name}/{self._prefix}{key}"

    def close(self) -> None:
        """Let go of the connections."""
        self._http.clear()

    def make(self) -> None:
        """Make the bucket if there is none."""
        with _translated():
            if not self._client.bucket_exists(self._name):
                self._client.make_bucket(self._name)

    def check(self) -> None:
        """Raise ServiceUnavailable when the bucket is not there."""
        with _translated():
            if not self._client.bucket_exists(self._name):
                raise ServiceUnavailable(f"the S3 store has no bucket {self._name!r}", bucket=self._name)

    def upload_url(self, key: str, digest: Digest, lasting: timedelta, *, public: bool = True) -> str:
        """A URL that takes the content of that digest under one key. The digest is part of what is signed."""
        signed: dict[str, str | list[str] | tuple[str]] = {
            "x-amz-checksum-sha256": layout.checksum(digest),
            "x-amz-sdk-checksum-algorithm": "SHA256",
        }
        client = self._public if public else self._client
        return client.get_presigned_url("PUT", self._name, self._prefix + key, lasting, extra_query_params=signed)

    def download_url(self, key: str, lasting: timedelta) -> str:
        """A URL that gives the content of one key."""
        return self._public.get_presigned_url("GET", self._name, self._prefix + key, lasting)

    def put(self, url: str, body: bytes | IO[bytes], size_bytes: int, headers: Mapping[str, str] | None = None) -> str:
        """Send content to a URL; the error code of the store, or an empty string when it took it."""
        with _translated():
            all_headers = {"Content-Length": str(size_bytes), **(headers or {})}
            response = self._http.request("PUT", url, body=body, headers=all_headers)
        if response.status == 200:
            return ""
        if response.status in _BUSY_STATUS:
            raise busy(response.headers.get("retry-after", ""))
        found = _CODE.search(response.data)
        return found[1].decode() if found else f"HTTP{response.status}"

    def get(self, key: str, offset: int, length: int) -> bytes:
        """A range of an object; empty where there is none."""
        with _translated():
            try:
                response = self._client.get_object(self._name, self._prefix + key, offset, length)
            except S3Error as error:
                if error.code in {*_ABSENT, "InvalidRange"}:
                    return b""
                raise
            try:
                return response.read()
            finally:
                response.close()
                response.release_conn()

    def size(self, key: str, digest: Digest) -> int | None:
        """The size of an object; None where there is none, or where the store reports another digest."""
        with _translated():
            try:
                found = self._client.stat_object(
                    self._name, self._prefix + key, extra_headers={"x-amz-checksum-mode": "ENABLED"}
                )
            except S3Error as error:
                if error.code in _ABSENT:
                    return None
                raise
        reported = (found.metadata or {}).get("x-amz-checksum-sha256", "")
        return None if reported and reported != layout.checksum(digest) else found.size

    def delete(self, keys: Iterable[str]) -> None:
        """Remove objects, up to 1,000 in one request."""
        with _translated():
            doomed = [DeleteObject(self._prefix + key) for key in keys]
            for error in self._client.remove_objects(self._name, doomed):
                if error.code not in _ABSENT:
                    raise refused(str(error.code))

    def objects(self) -> Iterator[tuple[str, int]]:
        """The keys and sizes of all objects."""
        with _translated():
            for found in self._client.list_objects(self._name, prefix=self._prefix, recursive=True):
                if not found.is_dir:
                    yield str(found.object_name).removeprefix(self._prefix), found.size or 0

    def _minio(self, address: S3Address, endpoint: str) -> Minio:
        parts = urlsplit(endpoint)
        if parts.scheme not in {"http", "https"} or not parts.netloc or parts.path.strip("/"):
            raise ValueError(f"the S3 endpoint {endpoint!r} is not a URL such as https://host:9000")
        return Minio(
            parts.netloc,
            address.access_key or None,
            address.secret_key or None,
            secure=parts.scheme == "https",
            region=address.region,
            http_client=self._http,
        )


def busy(retry_after: str = "") -> TooBusy:
    """What it means that the store is at its limit."""
    seconds = min(int(retry_after), _LONGEST_SECONDS) if retry_after.isdecimal() else _BUSY_SECONDS
    message = f"the S3 store is at its limit; try again in {seconds} s"
    return TooBusy(message, retry_after_seconds=seconds)


def refused(code: str) -> ServiceUnavailable | StorageFull:
    """What an error code of the store means for a caller."""
    if code in _FULL or code == "HTTP507":
        return StorageFull(f"the S3 store is full ({code}); nothing was kept", error=code)
    return ServiceUnavailable(f"the S3 store refused ({code}); try again later", error=code)


@contextmanager
def _translated() -> Iterator[None]:
    try:
        yield
    except S3Error as error:
        if error.code in _BUSY or error.response.status in _BUSY_STATUS:
            raise busy(error.response.headers.get("retry-after", "")) from None
        raise refused(str(error.code)) from None  # its text may hold a signature
    except (ServerError, InvalidResponseError) as error:
        found = _STATUS.search(str(error))
        status = int(found[1]) if found else 0
        raise (busy() if status in _BUSY_STATUS else refused(f"HTTP{status}")) from None
    except (MinioException, urllib3.exceptions.HTTPError, ParseError, UnicodeDecodeError) as error:
        kind = type(error).__name__
        raise ServiceUnavailable(f"the S3 store cannot be reached ({kind}); try again later", error=kind) from None
