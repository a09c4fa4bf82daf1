"""Signatures: the server checks that they fit, and trusts no key."""

import asyncio
from dataclasses import replace

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from modelkeep._signature import key_id, signed_bytes
from modelkeep.errors import (
    InvalidArgument,
    LimitExceeded,
    PermissionDenied,
    RequestIdReused,
    SignatureInvalid,
    VersionDeleted,
    VersionNotFound,
)
from modelkeep_server.database.paging import Page
from modelkeep_server.metadata.app.signature import SignatureApp
from modelkeep_server.metadata.domain.event import VersionSigned
from modelkeep_server.metadata.domain.signature import Algorithm, Signing
from modelkeep_server.metadata.domain.version import Version
from modelkeep_server.runtime.callers import Access

from tests.unit.metadata.rig import CALLER, DIGITS, OTHER, Rig, call

READER = replace(CALLER, access=Access.READ)
KEY = Ed25519PrivateKey.generate()


def signing(version: Version, key: Ed25519PrivateKey = KEY, comment: str = "") -> Signing:
    value = key.sign(signed_bytes(str(version.digest)))
    return Signing(Algorithm.ED25519, key.public_key().public_bytes_raw(), value, comment)


def app(rig: Rig, most: int = 100) -> SignatureApp:
    return SignatureApp(rig.transactions, most)


def test_what_is_signed_never_changes() -> None:
    """A signature of today is checked by the programs of years to come."""
    assert signed_bytes("sha256:" + "ab" * 32) == b"modelkeep.signature.v1\nsha256:" + b"ab" * 32
    assert key_id(bytes(32)) == "66687aadf862bd77"


async def test_a_version_is_signed_once_by_a_key(rig: Rig) -> None:
    version = (await rig.log()).version
    added = await app(rig).add_signature(call("AddSignature"), version.name, signing(version, comment="eval 142"))
    again = await app(rig).add_signature(call("AddSignature"), version.name, signing(version, comment="other words"))
    assert added == again
    assert (added.version, added.creator, added.signing.comment) == (version.name, CALLER.actor, "eval 142")
    assert (await app(rig).list_signatures(READER, version.name, Page())).items == (added,)
    signed = [event.happening for event in await rig.events() if isinstance(event.happening, VersionSigned)]
    assert signed == [VersionSigned(str(version.name), version.uid, added.signing.key_id)]


async def test_a_repeated_call_gets_its_answer(rig: Rig) -> None:
    """SEM-14."""
    version = (await rig.log()).version
    made = call("AddSignature", body=b"one")
    first = await app(rig).add_signature(made, version.name, signing(version))
    assert await app(rig).add_signature(made, version.name, signing(version)) == first
    with pytest.raises(RequestIdReused):
        await app(rig).add_signature(replace(made, fingerprint=b"two"), version.name, signing(version))


async def test_signatures_are_listed_oldest_first_by_pages(rig: Rig) -> None:
    version = (await rig.log()).version
    added = [
        await app(rig).add_signature(call("AddSignature"), version.name, signing(version, Ed25519PrivateKey.generate()))
        for _ in range(5)
    ]
    found, page = [], Page(2)
    while True:
        listing = await app(rig).list_signatures(READER, version.name, page)
        found += listing.items
        if not listing.next_token:
            break
        page = Page(2, listing.next_token)
    assert found == added


async def test_a_signature_of_something_else_does_not_fit(rig: Rig) -> None:
    one, two = (await rig.log()).version, (await rig.log()).version
    with pytest.raises(SignatureInvalid, match=r"does not fit digits:v1"):
        await app(rig).add_signature(call("AddSignature"), two.name, signing(one))
    stolen = replace(signing(two), public_key=Ed25519PrivateKey.generate().public_key().public_bytes_raw())
    with pytest.raises(SignatureInvalid):
        await app(rig).add_signature(call("AddSignature"), two.name, stolen)
    assert (await app(rig).list_signatures(READER, two.name, Page())).items == ()


@pytest.mark.parametrize(("field", "data"), [("public_key", b"short"), ("value", b""), ("value", bytes(65))])
async def test_what_is_no_signature_is_refused(rig: Rig, field: str, data: bytes) -> None:
    version = (await rig.log()).version
    with pytest.raises(InvalidArgument, match=f"{field} of the signature has {len(data)} bytes"):
        replace(signing(version), **{field: data})


async def test_a_key_that_is_no_point_of_the_curve_does_not_fit(rig: Rig) -> None:
    version = (await rig.log()).version
    with pytest.raises(SignatureInvalid):
        await app(rig).add_signature(
            call("AddSignature"), version.name, replace(signing(version), public_key=b"\x02" + bytes(30) + b"\x80")
        )


async def test_there_are_only_so_many_however_many_come_at_once(rig: Rig) -> None:
    version = (await rig.log()).version
    signings = [signing(version, Ed25519PrivateKey.generate()) for _ in range(6)]
    calls = (app(rig, 3).add_signature(call("AddSignature"), version.name, one) for one in signings)
    results = await asyncio.gather(*calls, return_exceptions=True)
    assert sum(isinstance(result, LimitExceeded) for result in results) == 3
    assert len((await app(rig).list_signatures(READER, version.name, Page())).items) == 3


async def test_what_is_not_there_or_deleted_cannot_be_signed(rig: Rig) -> None:
    version = (await rig.log()).version
    with pytest.raises(VersionNotFound):
        await app(rig).add_signature(call("AddSignature"), DIGITS.version(7), signing(version))
    await rig.versions.delete_version(call("DeleteVersion"), version.name, "bad", delete_aliases=True)
    with pytest.raises(VersionDeleted):
        await app(rig).add_signature(call("AddSignature"), version.name, signing(version))
    with pytest.raises(VersionDeleted):
        await app(rig).list_signatures(READER, version.name, Page())


@pytest.mark.peer("M-AUTHZ-1")
async def test_only_the_team_signs(rig: Rig) -> None:
    version = (await rig.log()).version
    with pytest.raises(PermissionDenied):
        await app(rig).add_signature(call("AddSignature", OTHER), version.name, signing(version))
    with pytest.raises(PermissionDenied):
        await app(rig).list_signatures(replace(OTHER, access=Access.READ), version.name, Page())
