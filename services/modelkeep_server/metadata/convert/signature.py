"""Signatures on the wire."""

from __future__ import annotations

from modelkeep.api.metadata.v1 import signature_pb2 as pb
from modelkeep.errors import InvalidArgument
from modelkeep.names import parse_words

from modelkeep_server.metadata.domain.signature import MAX_COMMENT_BYTES, Algorithm, Signature, Signing
from modelkeep_server.runtime.moments import to_timestamp


def signing_from_pb(message: pb.Signature) -> Signing:
    """The signature that a call wants to add. Raises InvalidArgument, LimitExceeded."""
    try:
        algorithm = Algorithm(message.algorithm)
    except ValueError:
        known = ", ".join(one.name for one in Algorithm)
        why = f"the algorithm of the signature is number {message.algorithm}; known is {known}"
        raise InvalidArgument(why, field="signature.algorithm", value=message.algorithm) from None
    comment = parse_words(message.comment, "comment", MAX_COMMENT_BYTES)
    return Signing(algorithm, message.public_key, message.value, comment)


def signature_to_pb(signature: Signature) -> pb.Signature:
    """A signature."""
    signing = signature.signing
    return pb.Signature(
        name=f"{signature.version}/signatures/{signing.key_id}",
        algorithm=pb.SignatureAlgorithm.Name(int(signing.algorithm)),
        public_key=signing.public_key,
        value=signing.value,
        comment=signing.comment,
        create_time=to_timestamp(signature.create_time),
        creator=signature.creator,
    )
