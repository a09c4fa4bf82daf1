"""A small server and a connection to it."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from modelkeep._channel import Connection

from tests.unit.sdk.wire import Wire


@pytest.fixture
def wire() -> Iterator[Wire]:
    with Wire().running() as running:
        yield running


@pytest.fixture
def connection(wire: Wire) -> Iterator[Connection]:
    made = wire.connection()
    yield made
    made.close_channels()
