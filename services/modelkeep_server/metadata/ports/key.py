"""API keys, as the database keeps them."""

from __future__ import annotations

from typing import Protocol

from modelkeep.names import ApiKeyName, TeamName

from modelkeep_server.database.paging import Listing, Page
from modelkeep_server.metadata.domain.key import ApiKey, Credential, KeyWish, Secret


class Keys(Protocol):
    """The keys of all teams and services."""

    async def add(self, team: TeamName, secret: Secret, wish: KeyWish) -> ApiKey:
        """Keep a new key of a team. Raises ServiceUnavailable in the unheard-of case that its id was drawn before."""
        ...

    async def replace(self, team: TeamName, secret: Secret, wish: KeyWish) -> None:
        """Keep a key of a team in place of the one with the same id, which ends."""
        ...

    async def add_service(self, service: str, secret: Secret) -> None:
        """Keep a new key of a service."""
        ...

    async def find(self, key_id: str) -> Credential | None:
        """What is known of a key of a team or a service."""
        ...

    async def list(self, team: TeamName, page: Page) -> Listing[ApiKey]:
        """The keys of a team, oldest first, revoked ones too."""
        ...

    async def revoke(self, name: ApiKeyName) -> ApiKey:
        """End a key for good; one that ended stays as it is. Raises ApiKeyNotFound."""
        ...
