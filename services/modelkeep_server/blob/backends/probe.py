"""What an S3 store does with a signed URL, found out by trying it (DESIGN §2).

Only a store that enforces the signed digest gets URLs for uploads. And whoever holds such a URL can add headers that nobody
signed: a store that obeys those could be made to keep other bytes under a digest, so it is refused.
"""

from __future__ import annotations

import base64
import hashlib
import zlib
from datetime import timedelta
from typing import TYPE_CHECKING, Final
from uuid import uuid4

from modelkeep.digest import Digest

from modelkeep_server.blob.backends import layout

if TYPE_CHECKING:
    from collections.abc import Iterator

    from modelkeep_server.blob.backends.bucket import Bucket

_LASTING: Final = timedelta(minutes=5)
_GOOD: Final = b"the bytes that the URL was signed for"
_OTHER: Final = b"some bytes that the URL was not signed for"


class UnsafeStoreError(ValueError):
    """The store can be made to keep other bytes under a digest. It must not hand out URLs."""


class Probe:
    """Tries one bucket. All calls block."""

    def __init__(self, bucket: Bucket) -> None:
        self._bucket = bucket
        self._keys: list[str] = []

    def enforces_digest(self) -> bool:
        """Whether the store takes the signed content and nothing else. Raises UnsafeStoreError, ServiceUnavailable."""
        try:
            if self._attempt(_OTHER) != b"" or self._attempt(_GOOD) != _GOOD:
                return False
            for attack, body, headers in self._attacks():
                if self._attempt(body, headers) not in {b"", _GOOD}:
                    raise UnsafeStoreError(
                        f"the S3 store obeys {attack} on a signed URL, so anybody with a URL could store other bytes than "
                        "were signed. Upgrade it, or set s3_direct = false to let all bytes go through this service"
                    )
        finally:
            self._bucket.delete(self._keys)
        return True

    def _attempt(self, body: bytes, headers: dict[str, str] | None = None) -> bytes:
        """What stands under a fresh key after `body` was sent to its URL."""
        key = self._key()
        self._bucket.put(self._bucket.upload_url(key, Digest.of(_GOOD), _LASTING, public=False), body, len(body), headers)
        return self._bucket.get(key, 0, 1024)

    def _key(self) -> str:
        self._keys.append(f"{layout.PROBE}/{uuid4().hex}")
        return self._keys[-1]

    def _attacks(self) -> Iterator[tuple[str, bytes, dict[str, str]]]:
        """Unsigned headers that would have the store keep other bytes: their name, the body, the headers."""
        source, digest = self._key(), Digest.of(_OTHER)
        url = self._bucket.upload_url(source, digest, _LASTING, public=False)
        self._bucket.put(url, _OTHER, len(_OTHER))
        yield "x-amz-copy-source", b"", {"x-amz-copy-source": self._bucket.path(source)}
        yield "content-md5", _OTHER, {"content-md5": _base64(hashlib.md5(_OTHER, usedforsecurity=False).digest())}
        yield "x-amz-content-sha256", _OTHER, {"x-amz-content-sha256": digest.hex}
        for algorithm, value in _checksums(_OTHER).items():
            name = f"x-amz-checksum-{algorithm.lower()}"
            yield name, _OTHER, {name: value, "x-amz-sdk-checksum-algorithm": algorithm}
            body = f"{len(_OTHER):x}\r\n".encode() + _OTHER + f"\r\n0\r\n{name}:{value}\r\n\r\n".encode()
            trailer_headers = {
                "content-encoding": "aws-chunked",
                "x-amz-content-sha256": "STREAMING-UNSIGNED-PAYLOAD-TRAILER",
                "x-amz-decoded-content-length": str(len(_OTHER)),
                "x-amz-trailer": name,
            }
            yield "a streaming trailer", body, trailer_headers


def _checksums(data: bytes) -> dict[str, str]:
    """Every checksum that S3 knows, by the name of its algorithm."""
    return {
        "SHA256": layout.checksum(Digest.of(data)),
        "SHA1": _base64(hashlib.sha1(data, usedforsecurity=False).digest()),
        "CRC32": _base64(zlib.crc32(data).to_bytes(4, "big")),
        "CRC32C": _base64(crc(data, 0x82F63B78, 32)),
        "CRC64NVME": _base64(crc(data, 0x9A6C9329AC4BC9B5, 64)),
    }


def crc(data: bytes, polynomial: int, bits: int) -> bytes:
    """A cyclic redundancy check that begins and ends inverted, by its reflected polynomial. For a few bytes only."""
    ones = rest = (1 << bits) - 1
    for byte in data:
        rest ^= byte
        for _ in range(8):
            rest = rest >> 1 ^ (polynomial if rest & 1 else 0)
    return (rest ^ ones).to_bytes(bits // 8, "big")


def _base64(data: bytes) -> str:
    return base64.b64encode(data).decode("ascii")
