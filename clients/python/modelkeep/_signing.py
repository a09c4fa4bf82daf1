"""Signing a version, and asking who did."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from modelkeep import _signature
from modelkeep._wire import label, last, moment, pages, require_text
from modelkeep.api.metadata.v1 import metadata_service_pb2 as pb
from modelkeep.api.metadata.v1 import signature_pb2
from modelkeep.errors import SignatureMissing

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from datetime import datetime

    from modelkeep._channel import Connection
    from modelkeep._signature import PrivateKey, PublicKey

SHOWN = 10
"""How many of the keys found an error names."""


@dataclass(frozen=True, slots=True)
class Signature:
    """Somebody's word, by a key, that a version is the one they mean."""

    key_id: str
    """The first 16 hex digits of the SHA-256 of the public key."""
    algorithm: str
    """`ED25519`."""
    public_key: bytes
    """32 raw bytes. Whether it is the key of somebody you trust is for you to know."""
    value: bytes
    comment: str
    create_time: datetime
    creator: str
    """The API key that added it."""

    @classmethod
    def from_pb(cls, message: signature_pb2.Signature) -> Signature:
        """Read a message."""
        algorithm = label(signature_pb2.SignatureAlgorithm, message.algorithm, "SIGNATURE_ALGORITHM_")
        key, value, comment = message.public_key, message.value, message.comment
        return cls(last(message.name), algorithm, key, value, comment, moment(message.create_time), message.creator)


def add_signature(connection: Connection, version: str, digest: str, key: PrivateKey, comment: str) -> Signature:
    """Sign a version. Signing it again by the same key changes nothing."""
    require_text(comment=comment)
    public_key, value = _signature.sign(key, digest)
    request = pb.AddSignatureRequest(parent=version)
    request.signature.algorithm = signature_pb2.SIGNATURE_ALGORITHM_ED25519
    request.signature.public_key, request.signature.value, request.signature.comment = public_key, value, comment
    return Signature.from_pb(connection.metadata.AddSignature(request))


def signatures_of(connection: Connection, version: str) -> Iterator[Signature]:
    """The signatures of a version, oldest first."""
    request = pb.ListSignaturesRequest(parent=version, page_size=1000)
    return map(Signature.from_pb, pages(connection.metadata.ListSignatures, request, lambda page: page.signatures))


def require_signature(
    signatures: Iterable[Signature], digest: str, keys: PublicKey | Iterable[PublicKey], what: str
) -> Signature:
    """The first signature by one of the keys. Nothing of what a server says about a signature is believed.

    Raises SignatureInvalid when one by these keys does not fit; SignatureMissing, which names the keys that did sign.
    """
    trusted = _signature.public_keys(keys)
    found: list[str] = []
    for signature in signatures:
        if signature.public_key in trusted:
            _signature.require_fit(signature.public_key, signature.value, digest, what)
            return signature
        if len(found) <= SHOWN:
            found.append(_signature.key_id(signature.public_key))
    wanted = ", ".join(trusted.values())
    signed = f"it is signed by {', '.join(found[:SHOWN])}{', …' if len(found) > SHOWN else ''}" if found else "nobody signed it"
    message = f"{what} has no signature by the key {wanted}: {signed}"
    raise SignatureMissing(message, version=what, wanted=wanted, found=",".join(found[:SHOWN]))
