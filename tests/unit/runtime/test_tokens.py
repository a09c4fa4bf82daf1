"""Access tokens and the ways to forge them (M-AUTHZ-2, R14)."""

import base64
import hashlib
import hmac
import json
import time
from typing import Any

import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
    load_pem_private_key,
)
from modelkeep.errors import AccessTokenInvalid
from modelkeep_server.runtime import tokens
from modelkeep_server.runtime.callers import Role
from modelkeep_server.runtime.tokens import Claims, Signer, Verifier

from tests.unit.runtime.rig import private_key_pem

PEM = private_key_pem()
SIGNER = Signer(PEM)
KEY: Any = load_pem_private_key(PEM, None)
KID = tokens.key_id(KEY.public_key())
USER = Claims("teams/t/apiKeys/k", "t", Role.WRITE, ("u", "v"))
SERVICE = Claims("services/metadata", is_service=True)


@pytest.fixture
def verifier() -> Verifier:
    return Verifier([SIGNER.public_key_pem])


def payload(**changes: Any) -> dict[str, Any]:
    now = int(time.time())
    body = {"iss": "modelkeep", "aud": "modelkeep", "iat": now, "exp": now + 60, "sub": "services/x", "service": True} | changes
    return {key: value for key, value in body.items() if value is not None}


def forged(body: dict[str, Any], key: Any = KEY, algorithm: str = "EdDSA", **header: Any) -> str:
    return jwt.encode(body, key, algorithm=algorithm, headers={"kid": KID, **header})


def handmade(header: dict[str, Any], body: dict[str, Any], signature: bytes = b"") -> str:
    parts = [json.dumps(header).encode(), json.dumps(body).encode(), signature]
    return ".".join(base64.urlsafe_b64encode(part).rstrip(b"=").decode() for part in parts)


@pytest.mark.parametrize("claims", [USER, SERVICE, Claims("teams/t/apiKeys/k", "t", None)], ids=["user", "service", "no role"])
def test_claims_come_back_as_they_were_signed(verifier, claims):
    assert verifier.verify(SIGNER.sign(claims)) == claims


def test_a_hand_made_token_of_the_same_form_is_accepted(verifier):
    """So that the refusals below are refusals of what they change, and of nothing else."""
    assert verifier.verify(forged(payload())) == Claims("services/x", is_service=True)


def with_public_key_as_secret() -> str:
    """HS256 with the public key, which everybody has, as its secret."""
    header, body = {"alg": "HS256", "typ": "JWT", "kid": KID}, payload()
    unsigned = handmade(header, body).rpartition(".")[0]
    return handmade(header, body, hmac.new(SIGNER.public_key_pem, unsigned.encode(), hashlib.sha256).digest())


def with_embedded_key() -> str:
    stranger = Ed25519PrivateKey.generate()
    raw = stranger.public_key().public_bytes(Encoding.Raw, PublicFormat.Raw)
    jwk = {"kty": "OKP", "crv": "Ed25519", "x": base64.urlsafe_b64encode(raw).rstrip(b"=").decode()}
    return forged(payload(), stranger, jwk=jwk, jku="https://evil.example/keys", x5u="https://evil.example/cert")


def with_changed_body() -> str:
    head, _body, signature = forged(payload(sub="services/a")).split(".")
    other = handmade({}, payload(sub="services/admin")).split(".")[1]
    return f"{head}.{other}.{signature}"


def of_a_stranger_with_our_kid() -> str:
    return forged(payload(), Ed25519PrivateKey.generate())


ATTACKS = {
    "alg none": lambda: handmade({"alg": "none", "kid": KID}, payload()),
    "alg None": lambda: handmade({"alg": "None", "kid": KID}, payload()),
    "alg none, signed": lambda: handmade({"alg": "none", "kid": KID}, payload(), b"x" * 64),
    "no alg": lambda: handmade({"kid": KID}, payload(), b"x" * 64),
    "HS256 with the public key": with_public_key_as_secret,
    "RS256": lambda: forged(payload(), rsa.generate_private_key(65537, 2048), "RS256"),
    "ES256": lambda: forged(payload(), ec.generate_private_key(ec.SECP256R1()), "ES256"),
    "embedded jwk": with_embedded_key,
    "a stranger's key under our kid": of_a_stranger_with_our_kid,
    "unknown kid": lambda: forged(payload(), kid="0" * 16),
    "kid is a path": lambda: forged(payload(), kid="../../dev/null"),
    "kid is a number": lambda: handmade({"alg": "EdDSA", "kid": 7}, payload(), b"x" * 64),
    "kid is a list": lambda: handmade({"alg": "EdDSA", "kid": [KID]}, payload(), b"x" * 64),
    "no kid": lambda: jwt.encode(payload(), KEY, algorithm="EdDSA"),
    "changed body": with_changed_body,
    "expired": lambda: forged(payload(exp=int(time.time()) - 1)),
    "not yet": lambda: forged(payload(nbf=int(time.time()) + 600)),
    "no exp": lambda: forged(payload(exp=None)),
    "exp is text": lambda: forged(payload(exp="never")),
    "another issuer": lambda: forged(payload(iss="somebody")),
    "no issuer": lambda: forged(payload(iss=None)),
    "another audience": lambda: forged(payload(aud="elsewhere")),
    "no audience": lambda: forged(payload(aud=None)),
    "no subject": lambda: forged(payload(sub=None)),
    "unknown role": lambda: forged(payload(service=None, team="t", role="ROOT", reads=[])),
    "no team": lambda: forged(payload(service=None, role="READ", reads=[])),
    "service is not true": lambda: forged(payload(service="yes")),
    "critical header": lambda: forged(payload(), crit=["exp"]),
    "empty": lambda: "",
    "no dots": lambda: "abc",
    "not base64": lambda: "a.b.c",
    "not JSON": lambda: handmade({}, {}).replace("e30", "AAAA"),
    "body is a list": lambda: forged(["x"]) if False else handmade({"alg": "EdDSA", "kid": KID}, [1], b"x"),  # type: ignore[arg-type]
    "deep": lambda: handmade({"alg": "EdDSA", "kid": KID}, json.loads("[" * 900 + "]" * 900), b"x"),
    "huge": lambda: "a" * 1_000_000,
}


@pytest.mark.peer("M-AUTHZ-2")
@pytest.mark.parametrize("attack", ATTACKS.values(), ids=ATTACKS)
def test_a_forged_token_is_refused(verifier, attack):
    token = attack()
    for _again in range(2):  # no refusal is remembered as a success
        with pytest.raises(AccessTokenInvalid) as caught:
            verifier.verify(token)
        assert caught.value.__cause__ is None
        assert token[:40] not in caught.value.message or not token


def test_a_remembered_token_still_ends(verifier, monkeypatch):
    token = SIGNER.sign(USER)
    verifier.verify(token)
    now = time.time()
    monkeypatch.setattr(tokens.time, "time", lambda: now + 61)
    for _again in range(2):
        with pytest.raises(AccessTokenInvalid, match="ended"):
            verifier.verify(token)


def test_verified_tokens_are_remembered_up_to_a_bound(verifier, monkeypatch):
    monkeypatch.setattr(tokens, "CACHED_TOKENS", 3)
    for number in range(10):
        verifier.verify(SIGNER.sign(Claims(f"services/{number}", is_service=True)))
    assert len(verifier._verified) == 3


def test_signatures_are_checked_once_per_token(verifier, monkeypatch):
    token = SIGNER.sign(USER)
    verifier.verify(token)
    monkeypatch.delattr(tokens.jwt, "decode")
    assert verifier.verify(token) == USER


def test_two_public_keys_are_good_during_a_rotation():
    old, new = Signer(private_key_pem()), Signer(private_key_pem())
    both = Verifier([new.public_key_pem, old.public_key_pem])
    assert both.verify(old.sign(USER)) == both.verify(new.sign(USER)) == USER
    with pytest.raises(AccessTokenInvalid, match="does not know"):
        Verifier([new.public_key_pem]).verify(old.sign(USER))


def test_a_token_lives_as_long_as_it_was_told():
    claims = jwt.decode(Signer(PEM, lifetime_seconds=7).sign(USER), options={"verify_signature": False})
    assert claims["exp"] - claims["iat"] == 7


def test_only_ed25519_keys_sign_and_verify():
    key = rsa.generate_private_key(65537, 2048)
    with pytest.raises(TypeError, match="Ed25519"):
        Signer(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
    with pytest.raises(TypeError, match="Ed25519"):
        Verifier([key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)])
    with pytest.raises(ValueError, match="without a public key"):
        Verifier([])
