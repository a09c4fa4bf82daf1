"""`--store-url`: run the suite of stores against any store that the server could use (docs/operations.md)."""

from __future__ import annotations

from pathlib import Path

import pytest
from modelkeep_server.blob.settings import BlobSettings
from modelkeep_server.settings import load

STORE = pytest.StashKey[BlobSettings]()


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--store-url", help="the store that test_any_store.py tries, as in blob.store_url; keys as for the server")


def pytest_configure(config: pytest.Config) -> None:
    """Settings are read here, before the tests take what belongs to the user out of the environment."""
    if url := config.getoption("--store-url", None):
        config.stash[STORE] = load({"blob": {"store_url": url}}).settings.blob


def pytest_ignore_collect(collection_path: Path, config: pytest.Config) -> bool | None:
    """Without a store there is nothing to try."""
    return True if collection_path.name == "test_any_store.py" and STORE not in config.stash else None
