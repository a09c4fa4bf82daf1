"""What every test may use: a running suite in the topologies asked for, and a project of its own."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from functools import cache
from pathlib import Path
from uuid import uuid4

import pytest
from hypothesis import settings

from tests import servers
from tests.suites import Suite, running, unlisted_errors

CLUSTER_KEY = os.environ.get("MODELKEEP_API_KEY", "")


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--topology",
        default="embedded",
        help="where tests of the whole product run: embedded (one process), split (a process per service, on PostgreSQL and "
        "S3), both with a comma between, or host:port of a running cluster, with MODELKEEP_API_KEY set",
    )


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line("markers", "one_topology: what it proves does not depend on how the servers run")
    if not config.option.markexpr:
        config.option.markexpr = "not soak"
    # The same examples each time, however long one takes; the long forms look for new ones.
    settings.register_profile("tests", deadline=None, derandomize=config.option.markexpr == "not soak")
    settings.load_profile("tests")


def pytest_sessionfinish() -> None:
    servers.stop_all()


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    if "suite" in metafunc.fixturenames:
        topologies = metafunc.config.getoption("--topology").split(",")
        enough = topologies[:1] if metafunc.definition.get_closest_marker("one_topology") else topologies
        metafunc.parametrize("suite", enough, indirect=True, scope="session")


@pytest.fixture(scope="session", autouse=True)
def _nothing_of_the_user(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """No test sees, or changes, the settings of whoever runs it."""
    with pytest.MonkeyPatch.context() as patch:
        for name in [name for name in os.environ if name.startswith("MODELKEEP_")]:
            patch.delenv(name)
        patch.setenv("MODELKEEP_CONFIG_HOME", str(tmp_path_factory.mktemp("config")))
        patch.setenv("MODELKEEP_CACHE_DIR", str(tmp_path_factory.mktemp("cache")))
        patch.setenv("MODELKEEP_CAPTURE", "none")  # the code that runs here is ours; who tests that it is kept says so
        yield


@pytest.fixture(scope="session")
def _suites(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[[str], Suite]]:
    """Starts each topology when it is first asked for, and keeps it: a worker goes from one to the other with every file."""
    folders: list[Path] = []

    @cache
    def start(topology: str) -> Suite:
        folders.append(tmp_path_factory.mktemp("suite"))
        return stack.enter_context(running(topology, folders[-1], CLUSTER_KEY))

    with ExitStack() as stack:
        yield start
    assert not any(map(unlisted_errors, folders)), "an RPC lists in its comment how it may fail"


@pytest.fixture(scope="session")
def suite(request: pytest.FixtureRequest, _suites: Callable[[str], Suite]) -> Suite:
    """The product, as real processes; one per topology and worker, shared by all tests."""
    return _suites(request.param)


@pytest.fixture
def project() -> str:
    """A project that no other test knows."""
    return f"t-{uuid4().hex[:12]}"


@pytest.fixture
def client_env(suite: Suite, project: str) -> dict[str, str]:
    """The environment of a client process that works in `project`."""
    return suite.client(project)
