"""One call, so that its repetition can be answered with the first answer."""

from __future__ import annotations

from dataclasses import dataclass

from modelkeep_server.runtime.callers import Caller


@dataclass(frozen=True, slots=True)
class Call:
    """A unary call that writes (SEM-14). Remembered per (team of the caller, method, request id)."""

    caller: Caller
    method: str
    """The bare name of the RPC: `MoveAliases`."""
    request_id: str
    """A UUID4 of the client."""
    fingerprint: bytes
    """SHA-256 of the body without its request id."""

    @property
    def team(self) -> str:
        """The team of the caller."""
        return self.caller.team
