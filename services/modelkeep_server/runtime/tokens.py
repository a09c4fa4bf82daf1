"""Access tokens: EdDSA-signed JWTs that metadata signs and every service verifies by itself, without asking anybody.

What may go wrong with JWTs is closed by construction: one algorithm, pinned; keys looked up by `kid` among our own and
nowhere else; issuer, audience and end required. What a token's own header says about keys is never read.
"""

from __future__ import annotations

import hashlib
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import jwt
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat, load_pem_private_key, load_pem_public_key
from modelkeep.errors import AccessTokenInvalid

from modelkeep_server.runtime.callers import Role

if TYPE_CHECKING:
    from collections.abc import Sequence

ALGORITHM: Final = "EdDSA"
ISSUER: Final = "modelkeep"
AUDIENCE: Final = "modelkeep"
LIFETIME_SECONDS: Final = 60
MAX_TOKEN_CHARACTERS: Final = 8192
CACHED_TOKENS: Final = 4096

_RENEW = "get a new access token with your API key (ExchangeApiKey)"


@dataclass(frozen=True, slots=True)
class Claims:
    """What an access token says of its holder."""

    actor: str
    """`teams/{team}/apiKeys/{id}` or `services/{name}`."""
    team: str = ""
    role: Role | None = None
    readable_teams: tuple[str, ...] = ()
    is_service: bool = False


class Signer:
    """Signs access tokens with one private key (PEM, Ed25519)."""

    def __init__(self, private_key_pem: bytes, *, lifetime_seconds: int = LIFETIME_SECONDS) -> None:
        key = load_pem_private_key(private_key_pem, password=None)
        if not isinstance(key, Ed25519PrivateKey):
            raise TypeError(f"access tokens are signed with an Ed25519 key, not with {type(key).__name__}")
        self.lifetime_seconds = lifetime_seconds
        """How long a token lives."""
        self.public_key_pem = key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
        """What the tokens are verified with."""
        self._key = key
        self._headers = {"kid": key_id(key.public_key())}

    def sign(self, claims: Claims) -> str:
        """A token that is good from now on, for the lifetime."""
        now = int(time.time())
        payload: dict[str, Any] = {"iss": ISSUER, "aud": AUDIENCE, "iat": now, "exp": now + self.lifetime_seconds}
        payload["sub"] = claims.actor
        if claims.is_service:
            payload["service"] = True
        else:
            payload |= {
                "team": claims.team,
                "role": claims.role.name if claims.role else "",
                "reads": list(claims.readable_teams),
            }
        return jwt.encode(payload, self._key, algorithm=ALGORITHM, headers=self._headers)


class Verifier:
    """Verifies access tokens with our public keys. A token that was verified is remembered until its end, up to a bound."""

    def __init__(self, public_keys_pem: Sequence[bytes]) -> None:
        keys = [_public_key(pem) for pem in public_keys_pem]
        if not keys:
            raise ValueError("access tokens cannot be verified without a public key")
        self._keys = {key_id(key): key for key in keys}
        self._verified: dict[str, tuple[Claims, float]] = {}

    def verify(self, token: str) -> Claims:
        """What the token says. Raises AccessTokenInvalid when it ended, or is not one that we signed."""
        known = self._verified.get(token)
        if known is not None:
            if time.time() < known[1]:
                return known[0]
            raise AccessTokenInvalid(f"the access token has ended; {_RENEW}")
        claims, end = self._read(token)
        if len(self._verified) >= CACHED_TOKENS:
            del self._verified[next(iter(self._verified))]  # the oldest; with lives of a minute it ends first
        self._verified[token] = claims, end
        return claims

    def _read(self, token: str) -> tuple[Claims, float]:
        if len(token) > MAX_TOKEN_CHARACTERS:
            raise AccessTokenInvalid(f"the access token is too long; {_RENEW}")
        try:
            kid = jwt.get_unverified_header(token).get("kid")
            key = self._keys.get(kid) if isinstance(kid, str) else None
            if key is None:
                message = f"the access token is signed with a key that this server does not know; {_RENEW}"
                raise AccessTokenInvalid(message)
            payload = jwt.decode(
                token,
                key,
                algorithms=[ALGORITHM],
                issuer=ISSUER,
                audience=AUDIENCE,
                options={"require": ["exp", "iat", "iss", "aud", "sub"], "verify_iat": False},
            )
            return _claims(payload), float(payload["exp"])
        except jwt.ExpiredSignatureError:
            raise AccessTokenInvalid(f"the access token has ended; {_RENEW}") from None
        except (jwt.PyJWTError, ValueError, TypeError, KeyError, RecursionError):
            # Without the cause: what a stranger sent must not end up in a log.
            raise AccessTokenInvalid(f"the access token is not one of ours; {_RENEW}") from None


def key_id(key: Ed25519PublicKey) -> str:
    """The `kid` of a public key: the first 16 hex digits of the SHA-256 of its DER."""
    der = key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    return hashlib.sha256(der).hexdigest()[:16]


def _public_key(pem: bytes) -> Ed25519PublicKey:
    key = load_pem_public_key(pem)
    if not isinstance(key, Ed25519PublicKey):
        raise TypeError(f"access tokens are verified with Ed25519 keys, not with {type(key).__name__}")
    return key


def _claims(payload: dict[str, Any]) -> Claims:
    actor = str(payload["sub"])
    if payload.get("service") is True:
        return Claims(actor, is_service=True)
    return Claims(
        actor,
        team=str(payload["team"]),
        role=Role[payload["role"]] if payload["role"] else None,
        readable_teams=tuple(str(team) for team in payload["reads"]),
    )
