"""Bytes straight to and from the store, by the URLs that the blob service signs. A URL is a secret: it is never logged."""

from __future__ import annotations

import logging
import os
from typing import TYPE_CHECKING, Final

import urllib3
from urllib3.exceptions import ConnectTimeoutError, HTTPError, MaxRetryError, NewConnectionError

from modelkeep.errors import ServiceUnavailable

if TYPE_CHECKING:
    from modelkeep.config import Config

CONNECTIONS: Final = 8
"""Transfers at once."""
_TIMEOUT: Final = urllib3.Timeout(connect=10, read=60)


class StoreFailed(Exception):
    """The store did not take or give the bytes. Never leaves the SDK: it asks for another URL, or goes through the server."""

    def __init__(self, why: str, *, reached: bool = True) -> None:
        super().__init__(why)
        self.reached = reached
        """False when there was no connection at all."""

    def as_error(self) -> ServiceUnavailable:
        """What to raise when nothing else helps."""
        return ServiceUnavailable(f"the store that the server named failed: {self}")


class _HidesUrls(logging.Filter):
    """urllib3 logs each request with its query, which is the signature."""

    def filter(self, record: logging.LogRecord) -> bool:
        return not any("?" in argument for argument in record.args or () if isinstance(argument, str))


class DirectStore:
    """HTTP connections to the store, kept for the next transfer. A forked child opens its own."""

    def __init__(self, config: Config) -> None:
        self._ca_file = config.ca_file or None
        self._process = -1
        self._pool = urllib3.PoolManager()

    def put(self, url: str, data: bytes) -> None:
        """Store the bytes. Raises StoreFailed."""
        response = self._request("PUT", url, data, {})
        response.drain_conn()
        if response.status not in {200, 201, 204}:
            raise StoreFailed(f"it answered a PUT with {response.status}")

    def get(self, url: str, offset: int, length: int, *, whole: bool) -> bytes:
        """So many bytes of the object, which may be all of them. Raises StoreFailed."""
        headers = {} if whole else {"Range": f"bytes={offset}-{offset + length - 1}"}
        response = self._request("GET", url, None, headers)
        if response.status != (200 if whole else 206):
            response.drain_conn()
            raise StoreFailed(f"it answered a GET with {response.status}")
        try:
            data = response.read(length + 1)
        except HTTPError as error:
            raise StoreFailed(f"the connection broke ({type(error).__name__})") from None
        finally:
            response.release_conn()
        if len(data) != length:
            raise StoreFailed(f"it gave {len(data)} bytes instead of {length}")
        return data

    def _request(self, method: str, url: str, body: bytes | None, headers: dict[str, str]) -> urllib3.BaseHTTPResponse:
        try:
            return self._connections().request(
                method, url, body=body, headers=headers, preload_content=False, redirect=False, decode_content=False
            )
        except HTTPError as error:  # its text holds the URL
            cause = error.reason if isinstance(error, MaxRetryError) else error
            reached = not isinstance(cause, (NewConnectionError, ConnectTimeoutError))
            raise StoreFailed(f"no answer ({type(cause).__name__})", reached=reached) from None

    def _connections(self) -> urllib3.PoolManager:
        if self._process != os.getpid():
            logger = logging.getLogger("urllib3.connectionpool")
            if not any(isinstance(present, _HidesUrls) for present in logger.filters):
                logger.addFilter(_HidesUrls())
            self._pool = urllib3.PoolManager(
                maxsize=CONNECTIONS * 2, block=False, retries=False, timeout=_TIMEOUT, ca_certs=self._ca_file
            )
            self._process = os.getpid()
        return self._pool
