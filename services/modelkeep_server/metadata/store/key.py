"""API keys: ids, hashes of secrets, and what they allow."""

from __future__ import annotations

import json
from typing import Any

from modelkeep.errors import ApiKeyNotFound, ServiceUnavailable
from modelkeep.names import ApiKeyName, TeamName
from sqlalchemy import select, tuple_, update
from sqlalchemy.ext.asyncio import AsyncSession
from sqlmodel import col

from modelkeep_server.database.clock import Clock, from_micros, to_micros
from modelkeep_server.database.dialect import upsert
from modelkeep_server.database.paging import Listing, Page, token
from modelkeep_server.metadata.domain.key import ApiKey, Credential, KeyRole, KeyWish, Secret
from modelkeep_server.metadata.store.tables import ApiKeyRow


class KeyRepository:
    """The keys of all teams and services."""

    def __init__(self, session: AsyncSession, clock: Clock) -> None:
        self._session = session
        self._clock = clock

    async def add(self, team: TeamName, secret: Secret, wish: KeyWish) -> ApiKey:
        """Keep a new key of a team. Raises ServiceUnavailable in the unheard-of case that its id was drawn before."""
        await self._insert(_values(team, secret, wish))
        return await self._get(ApiKeyName(team.team, secret.id))

    async def replace(self, team: TeamName, secret: Secret, wish: KeyWish) -> None:
        """Keep a key of a team in place of the one with the same id, which ends."""
        values = _values(team, secret, wish) | {"create_time": self._clock.sql(), "revoke_time": None}
        statement = upsert(self._session, ApiKeyRow).values(values)
        await self._session.execute(statement.on_conflict_do_update(index_elements=["id"], set_=values))

    async def add_service(self, service: str, secret: Secret) -> None:
        """Keep a new key of a service."""
        await self._insert({"id": secret.id, "service": service, "secret_hash": secret.hash, "readable_teams": "[]"})

    async def find(self, key_id: str) -> Credential | None:
        """What is known of a key of a team or a service."""
        now = self._clock.sql()
        statement = select(ApiKeyRow, (col(ApiKeyRow.expire_time) <= now).label("is_expired"))
        found = (await self._session.execute(statement.where(col(ApiKeyRow.id) == key_id))).one_or_none()
        if found is None:
            return None
        row: ApiKeyRow = found[0]
        role = None if row.role is None else KeyRole(row.role)
        readable = tuple(json.loads(row.readable_teams))
        is_revoked, is_expired = row.revoke_time is not None, bool(found[1])
        return Credential(row.secret_hash, row.team or "", row.service, role, readable, is_revoked, is_expired)

    async def list(self, team: TeamName, page: Page) -> Listing[ApiKey]:
        """The keys of a team, oldest first, revoked ones too."""
        key = (col(ApiKeyRow.create_time), col(ApiKeyRow.id))
        statement = select(ApiKeyRow).where(col(ApiKeyRow.team) == team.team).order_by(*key).limit(page.size + 1)
        if position := page.position("keys", team, of=(int, str)):
            statement = statement.where(tuple_(*key) > (from_micros(position[0]), position[1]))
        keys = [_key(row) for row in await self._session.scalars(statement)]
        last = keys[page.size - 1] if len(keys) > page.size else None
        following = token([to_micros(last.create_time), last.name.key], "keys", team) if last else ""
        return Listing(tuple(keys[: page.size]), following)

    async def revoke(self, name: ApiKeyName) -> ApiKey:
        """End a key for good; one that ended stays as it is. Raises ApiKeyNotFound."""
        statement = update(ApiKeyRow).where(col(ApiKeyRow.team) == name.team, col(ApiKeyRow.id) == name.key)
        await self._session.execute(
            statement.where(col(ApiKeyRow.revoke_time).is_(None)).values(revoke_time=self._clock.sql()),
            execution_options={"synchronize_session": False},
        )
        return await self._get(name)

    async def _insert(self, values: dict[str, Any]) -> None:
        statement = upsert(self._session, ApiKeyRow).values(values | {"create_time": self._clock.sql()})
        statement = statement.on_conflict_do_nothing(index_elements=["id"])
        if (await self._session.scalar(statement.returning(col(ApiKeyRow.id)))) is None:
            raise ServiceUnavailable("the id that was drawn for the key is taken; try again")

    async def _get(self, name: ApiKeyName) -> ApiKey:
        statement = select(ApiKeyRow).where(col(ApiKeyRow.team) == name.team, col(ApiKeyRow.id) == name.key)
        row = await self._session.scalar(statement)
        if row is None:
            raise ApiKeyNotFound(f"team {name.team!r} has no API key {name.key!r}; list its keys to see them", key=str(name))
        return _key(row)


def _values(team: TeamName, secret: Secret, wish: KeyWish) -> dict[str, Any]:
    return {
        "id": secret.id,
        "team": team.team,
        "secret_hash": secret.hash,
        "display_name": wish.display_name,
        "role": int(wish.role),
        "readable_teams": json.dumps([readable.team for readable in wish.readable_teams]),
        "expire_time": wish.expire_time,
    }


def _key(row: ApiKeyRow) -> ApiKey:
    assert row.team is not None
    assert row.role is not None
    return ApiKey(
        name=ApiKeyName(row.team, row.id),
        display_name=row.display_name,
        role=KeyRole(row.role),
        readable_teams=tuple(TeamName(team) for team in json.loads(row.readable_teams)),
        create_time=row.create_time,
        expire_time=row.expire_time,
        revoke_time=row.revoke_time,
    )
