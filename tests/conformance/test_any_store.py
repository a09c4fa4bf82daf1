"""The suite of `blob_backends.py` on the store of `--store-url`, below a prefix of its own that is empty in the end (R8)."""

from __future__ import annotations

import shutil
from collections.abc import AsyncIterator
from urllib.parse import urlsplit
from uuid import uuid4

import pytest
from modelkeep_server.blob.module import open_backend
from modelkeep_server.blob.ports import Backend

from tests.conformance.blob_backends import BackendSuite
from tests.conformance.conftest import STORE
from tests.conformance.test_blob_backends import opened


class TestAnyStore(BackendSuite):
    @pytest.fixture
    async def backend(self, request: pytest.FixtureRequest) -> AsyncIterator[Backend]:
        settings = request.config.stash[STORE]
        url = settings.store_url
        below = url if url == "memory:" else f"{url.rstrip('/')}/modelkeep-conformance-{uuid4().hex}"
        async for backend in opened(open_backend(settings.model_copy(update={"store_url": below, "staging": False}))):
            yield backend
        if below.startswith("file:"):
            shutil.rmtree(urlsplit(below).path)
