from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from modelkeep_server.database.engine import Database

from tests.servers import postgres_url
from tests.unit.lineage.rig import Rig


@pytest.fixture(params=["sqlite", "postgresql"])
async def rig(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Rig]:
    """Use cases on a database of their own: each test runs on both engines."""
    database = Database(f"sqlite:///{tmp_path / 'lineage.db'}" if request.param == "sqlite" else postgres_url())
    yield await Rig(database).start()
    await database.close()
