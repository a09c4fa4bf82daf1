"""Each service's migrations, on both engines: they lead to the tables that the code expects (HOUSE §10)."""

from collections.abc import Callable
from importlib import import_module
from pathlib import Path

import pytest
from modelkeep_server.database.migrate import differences, revisions, upgrade

from tests import servers

SERVICES = ["blob", "metadata", "lineage"]


def tree(service: str) -> Path:
    package = import_module(f"modelkeep_server.{service}.store")
    return Path(str(package.__file__)).parent / "migrations"


@pytest.fixture(params=["sqlite", "postgresql"])
def fresh(request: pytest.FixtureRequest, tmp_path: Path) -> Callable[[], str]:
    """Gives the URL of a new, empty database."""
    urls = (f"sqlite:///{tmp_path}/{n}.sqlite" for n in range(100))
    return servers.postgres_url if request.param == "postgresql" else lambda: next(urls)


@pytest.mark.parametrize("service", SERVICES)
async def test_all_the_way_up_gives_the_tables_of_the_models(service, fresh):
    url = fresh()
    await upgrade(url, tree(service))
    tables = import_module(f"modelkeep_server.{service}.store.tables")
    assert await differences(url, tables.metadata) == []


@pytest.mark.parametrize("service", SERVICES)
async def test_up_from_every_old_revision(service, fresh):
    for old in revisions(tree(service)):
        url = fresh()
        await upgrade(url, tree(service), revision=old)
        await upgrade(url, tree(service))


@pytest.mark.parametrize("service", SERVICES)
def test_one_step_per_file_in_one_line(service):
    files = sorted(path.name for path in (tree(service) / "versions").glob("*.py"))
    assert [name[:4] for name in files] == revisions(tree(service)) == [f"{n:04}" for n in range(1, len(files) + 1)]
