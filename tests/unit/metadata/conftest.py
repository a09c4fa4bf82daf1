from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from modelkeep_server.database.engine import Database

from tests.databases import copied
from tests.unit.metadata.rig import Rig, made


@pytest.fixture(params=["sqlite", "postgresql"])
async def rig(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Rig]:
    """Use cases on a database of their own: each test runs on both engines."""
    async with copied(request.param, tmp_path, made) as url:
        database = Database(url)
        yield Rig(database)
        await database.close()
