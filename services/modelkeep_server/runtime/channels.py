"""How a service reaches another one: always through its stubs, also within one process."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import grpc.aio


class Channels:
    """Channels to other services. Their calls carry this process's own service token and the id of the call being served,
    and raise the classes of `modelkeep.errors`.
    """

    def to(self, service: str) -> grpc.aio.Channel:
        """The channel to `service`: `blob` or `metadata`."""
        raise NotImplementedError

    async def close(self) -> None:
        """Close all channels."""
