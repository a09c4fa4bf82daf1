"""Signatures: somebody's word, by a key, that a version is the one they mean."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from enum import IntEnum
from typing import Final

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from modelkeep._signature import KEY_BYTES, SIGNATURE_BYTES, key_id, signed_bytes
from modelkeep.digest import Digest
from modelkeep.errors import InvalidArgument, SignatureInvalid
from modelkeep.names import VersionName

MAX_COMMENT_BYTES: Final = 1024


class Algorithm(IntEnum):
    """How a version is signed; the numbers are those of the contract."""

    ED25519 = 1


@dataclass(frozen=True, slots=True)
class Signing:
    """A signature that somebody wants to add."""

    algorithm: Algorithm
    public_key: bytes
    value: bytes
    comment: str

    def __post_init__(self) -> None:
        for what, data, size in (("public_key", self.public_key, KEY_BYTES), ("value", self.value, SIGNATURE_BYTES)):
            if len(data) != size:
                message = f"{what} of the signature has {len(data)} bytes; Ed25519 has {size}"
                raise InvalidArgument(message, field=f"signature.{what}", size=len(data))

    @property
    def key_id(self) -> str:
        """Names the key among the signatures of a version."""
        return key_id(self.public_key)

    def require_fit(self, version: VersionName, digest: Digest) -> None:
        """Raise SignatureInvalid unless this signs the version with that digest."""
        try:
            Ed25519PublicKey.from_public_bytes(self.public_key).verify(self.value, signed_bytes(str(digest)))
        except (InvalidSignature, ValueError):
            message = f"the signature by the key {self.key_id} does not fit {version.short}, whose digest is {digest}"
            raise SignatureInvalid(message, version=str(version), key_id=self.key_id, digest=str(digest)) from None


@dataclass(frozen=True, slots=True)
class Signature:
    """A signature of a version."""

    version: VersionName
    signing: Signing
    create_time: datetime
    creator: str
