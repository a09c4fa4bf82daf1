"""The RPCs of signatures."""

from __future__ import annotations

from modelkeep.api.metadata.v1 import metadata_service_pb2 as pb
from modelkeep.api.metadata.v1 import signature_pb2 as signature_pb
from modelkeep.names import VersionName

from modelkeep_server.metadata.convert.signature import signature_to_pb, signing_from_pb
from modelkeep_server.metadata.servicer.base import Part, call
from modelkeep_server.runtime.callers import current
from modelkeep_server.runtime.messages import page_from_pb
from modelkeep_server.runtime.server import Context


class SignatureCalls(Part):
    """Sign versions, and see who did."""

    async def AddSignature(self, request: pb.AddSignatureRequest, _context: Context) -> signature_pb.Signature:
        """A signature that a version now has."""
        name, signing = VersionName.parse(request.parent), signing_from_pb(request.signature)
        return signature_to_pb(await self._apps.signatures.add_signature(call(request), name, signing))

    async def ListSignatures(self, request: pb.ListSignaturesRequest, _context: Context) -> pb.ListSignaturesResponse:
        """The signatures of a version."""
        name, page = VersionName.parse(request.parent), page_from_pb(request)
        listing = await self._apps.signatures.list_signatures(current(), name, page)
        signatures = map(signature_to_pb, listing.items)
        return pb.ListSignaturesResponse(signatures=signatures, next_page_token=listing.next_token)
