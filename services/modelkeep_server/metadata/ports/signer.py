"""Who signs access tokens."""

from __future__ import annotations

from typing import Protocol

from modelkeep_server.runtime.tokens import Claims


class Signer(Protocol):
    """The holder of the private key of this installation."""

    @property
    def lifetime_seconds(self) -> int:
        """How long a token lives."""
        ...

    def sign(self, claims: Claims) -> str:
        """A token that every service believes, for the lifetime."""
        ...
