"""What the database says about its own faults."""

from pathlib import Path

import pytest
from modelkeep_server.database.engine import Database
from sqlalchemy import text
from sqlalchemy.exc import DBAPIError

from tests import servers


@pytest.fixture(params=["sqlite", "postgresql"])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    return servers.postgres_url() if request.param == "postgresql" else f"sqlite:///{tmp_path}/database.sqlite"


async def test_an_unexpected_error_says_nothing_of_what_people_wrote(url):
    database = Database(url)
    with pytest.raises(DBAPIError, match="no_such_table") as raised:
        await database.write(lambda session: session.execute(text("DELETE FROM no_such_table WHERE a = :a"), {"a": "secret"}))
    await database.close()
    assert "secret" not in str(raised.value)
