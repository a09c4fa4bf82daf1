"""Signatures: add them to versions, and list them. The server trusts no key: who verifies decides which ones count."""

from __future__ import annotations

from modelkeep.errors import LimitExceeded, SignatureInvalid
from modelkeep.names import VersionName

from modelkeep_server.database.paging import Listing, Page
from modelkeep_server.metadata.domain.event import VersionSigned
from modelkeep_server.metadata.domain.signature import Signature, Signing
from modelkeep_server.metadata.ports.transactions import Transactions, Work
from modelkeep_server.runtime.callers import Caller
from modelkeep_server.runtime.calls import Call


class SignatureApp:
    """The use cases of signatures."""

    def __init__(self, transactions: Transactions, max_signatures: int) -> None:
        self._transactions = transactions
        self._max_signatures = max_signatures

    async def add_signature(self, call: Call, name: VersionName, signing: Signing) -> Signature:
        """Add a signature; the one that the key made before stays as it is.

        Raises VersionNotFound, VersionDeleted, and so on for what it lies in; SignatureInvalid, LimitExceeded.
        """
        call.caller.require(name.team)

        async def step(work: Work) -> Signature:
            await work.collections.lock(name.parent)
            version = await work.versions.get(name)
            signing.require_fit(name, version.digest)
            found = await work.signatures.find(name, signing.key_id)
            if found is not None:
                return _same_key(found, signing)
            if await work.signatures.count(name) >= self._max_signatures:
                most = self._max_signatures
                raise LimitExceeded(f"{name.short} has {most} signatures, which is the limit", field="signature", limit=most)
            added = await work.signatures.add(name, signing, call.caller.actor)
            work.emit(name.parent.parent, call.caller.actor, VersionSigned(str(name), version.uid, signing.key_id))
            return added

        return await self._transactions.once(call, Signature, step)

    async def list_signatures(self, caller: Caller, name: VersionName, page: Page) -> Listing[Signature]:
        """The signatures of a version, oldest first. Raises VersionNotFound, VersionDeleted, and so on."""
        caller.require(name.team)

        async def step(work: Work) -> Listing[Signature]:
            await work.versions.get(name)
            return await work.signatures.list(name, page)

        return await self._transactions.read(step)


def _same_key(found: Signature, signing: Signing) -> Signature:
    if found.signing.public_key != signing.public_key:
        message = f"another key with the id {signing.key_id} signed {found.version.short}; make a new key"
        raise SignatureInvalid(message, version=str(found.version), key_id=signing.key_id)
    return found
