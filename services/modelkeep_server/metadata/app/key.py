"""API keys: make them, end them, and exchange them for access tokens."""

from __future__ import annotations

import hmac
from dataclasses import replace
from datetime import timedelta
from typing import Final

from modelkeep.errors import (
    ApiKeyExpired,
    ApiKeyInvalid,
    InvalidArgument,
    LimitExceeded,
    PermissionDenied,
    TeamNotFound,
)
from modelkeep.names import ApiKeyName, TeamName, parse_identifier, parse_words

from modelkeep_server.database.paging import Listing, Page
from modelkeep_server.metadata.domain.key import (
    EMBEDDED_ID,
    MAX_READABLE_TEAMS,
    ApiKey,
    Credential,
    Exchanged,
    KeyRole,
    KeyWish,
    Secret,
)
from modelkeep_server.metadata.ports.signer import Signer
from modelkeep_server.metadata.ports.transactions import Transactions, Work
from modelkeep_server.runtime.callers import Access, Caller, Role
from modelkeep_server.runtime.calls import Call
from modelkeep_server.runtime.tokens import Claims

_NO_HASH: Final = bytes(32)


class KeyApp:
    """The use cases of API keys."""

    def __init__(self, transactions: Transactions, signer: Signer) -> None:
        self._transactions = transactions
        self._signer = signer

    async def exchange_api_key(self, text: str) -> Exchanged:
        """An access token for a secret. Raises ApiKeyInvalid, ApiKeyExpired.

        Unknown, wrong and revoked are one answer, and an expired key says so only to who knows its secret.
        """
        secret = Secret.parse(text)
        known = await self._transactions.read(lambda work: work.keys.find(secret.id))
        if not hmac.compare_digest(secret.hash, known.secret_hash if known else _NO_HASH) or known is None or known.is_revoked:
            raise ApiKeyInvalid("the API key is unknown or was revoked; ask an admin of your team for a new one")
        if known.is_expired:
            raise ApiKeyExpired("the API key has expired; ask an admin of your team for a new one")
        lifetime = timedelta(seconds=self._signer.lifetime_seconds)
        return Exchanged(self._signer.sign(_claims(secret, known)), lifetime, known.team, known.role)

    async def create_api_key(self, call: Call, team: TeamName, wish: KeyWish) -> tuple[ApiKey, str]:
        """A new key and its secret, which is empty in the answer to a repeated call: nothing here remembers it.

        Raises TeamNotFound, also for a readable team.
        """
        call.caller.require(team.team)
        _check(wish, call.caller)
        secret = Secret.draw()

        async def step(work: Work) -> ApiKey:
            if wish.expire_time is not None and wish.expire_time <= await work.now():
                raise InvalidArgument("expire_time is over already; give a later one", field="expire_time")
            await _require_teams(work, {team, *wish.readable_teams})
            return await work.keys.add(team, secret, wish)

        key = await self._transactions.once(call, ApiKey, step)
        return key, secret.text if key.name.key == secret.id else ""

    async def list_api_keys(self, caller: Caller, team: TeamName, page: Page) -> Listing[ApiKey]:
        """The keys of a team, oldest first, revoked ones too."""
        caller.require(team.team)
        return await self._transactions.read(lambda work: work.keys.list(team, page))

    async def revoke_api_key(self, call: Call, name: ApiKeyName) -> ApiKey:
        """End a key for good; tokens made from it end within their lifetime. Raises ApiKeyNotFound."""
        call.caller.require(name.team)
        return await self._transactions.once(call, ApiKey, lambda work: work.keys.revoke(name))


async def issue_key(transactions: Transactions, team: TeamName, wish: KeyWish, lifetime: timedelta | None) -> str:
    """The secret of a new key, for the operator of the server, who needs no key; its team is made if it is missing.

    Raises TeamNotFound for a readable team.
    """
    _check_text(wish)
    secret = Secret.draw()

    async def step(work: Work) -> None:
        await work.teams.ensure(team)
        await _require_teams(work, set(wish.readable_teams))
        expire_time = await work.now() + lifetime if lifetime else None
        await work.keys.add(team, secret, replace(wish, expire_time=expire_time))

    await transactions.write(step)
    return secret.text


async def issue_service_key(transactions: Transactions, service: str) -> str:
    """The secret of a new key of a service. Raises InvalidName."""
    parse_identifier(service, "service name")
    secret = Secret.draw()
    await transactions.write(lambda work: work.keys.add_service(service, secret))
    return secret.text


async def issue_embedded_key(transactions: Transactions, team: TeamName) -> str:
    """The secret of the admin key of an embedded server; the secret that it had before ends here."""
    secret = Secret.draw(EMBEDDED_ID)

    async def step(work: Work) -> None:
        await work.teams.ensure(team)
        await work.keys.replace(team, secret, KeyWish(KeyRole.ADMIN, display_name="the embedded server"))

    await transactions.write(step)
    return secret.text


def _claims(secret: Secret, known: Credential) -> Claims:
    if known.service:
        return Claims(f"services/{known.service}", is_service=True)
    role = None if known.role is None else Role(int(known.role))
    return Claims(str(ApiKeyName(known.team, secret.id)), known.team, role, known.readable_teams)


def _check(wish: KeyWish, caller: Caller) -> None:
    """Refuse a key that may do more than who makes it."""
    _check_text(wish)
    if caller.role is None or int(wish.role) > int(caller.role):
        raise PermissionDenied(f"a key cannot be given the role {wish.role.name.lower()} by one that has less", needs="admin")
    reader = replace(caller, access=Access.READ)
    for readable in wish.readable_teams:
        reader.require(readable.team)


def _check_text(wish: KeyWish) -> None:
    parse_words(wish.display_name, "display_name")
    if len(wish.readable_teams) > MAX_READABLE_TEAMS:
        message = f"the key would read {len(wish.readable_teams)} other teams; at most {MAX_READABLE_TEAMS} are allowed"
        raise LimitExceeded(message, field="readable_teams", limit=MAX_READABLE_TEAMS)


async def _require_teams(work: Work, names: set[TeamName]) -> None:
    listing = await work.teams.list([name.team for name in names], Page(len(names)))
    missing = sorted(names - {team.name for team in listing.items})
    if missing:
        raise TeamNotFound(f"there is no team {missing[0].team!r}", team=missing[0].team)
