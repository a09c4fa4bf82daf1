"""What a service gets from the process that runs it."""

from __future__ import annotations

from dataclasses import dataclass

from modelkeep_server.database.clock import Clock
from modelkeep_server.runtime.channels import Channels
from modelkeep_server.runtime.tokens import Signer


@dataclass(frozen=True)
class Wiring:
    """What a service's `build` gets from its process."""

    channels: Channels
    """How to reach other services."""
    clock: Clock
    """Where the time comes from."""
    signer: Signer | None = None
    """Signs access tokens; only where metadata runs."""
