from collections.abc import AsyncIterator, Awaitable, Callable

import pytest

from tests.unit.runtime.rig import Rig


@pytest.fixture
async def start() -> AsyncIterator[Callable[..., Awaitable[Rig]]]:
    """Starts a rig with the given settings."""
    rigs: list[Rig] = []

    async def begin(**settings: object) -> Rig:
        rigs.append(await Rig().start(**settings))
        return rigs[-1]

    yield begin
    for rig in rigs:
        await rig.stop()


@pytest.fixture
async def rig(start: Callable[..., Awaitable[Rig]]) -> Rig:
    return await start()
