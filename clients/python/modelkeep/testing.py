"""A real suite for tests: every service, on a free port, with its data in a temporary folder.

    from modelkeep.testing import local_suite

    def test_my_training():
        with local_suite() as suite:
            run = modelkeep.init(project="test", url=suite.url, api_key=suite.api_key)

Needs the extra `server`: `pip install 'modelkeep[server]'`.
"""

from __future__ import annotations

import tempfile
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

    from modelkeep._api import Api


@dataclass(frozen=True, slots=True)
class Suite:
    """A suite that runs in this process until its `with` block ends."""

    url: str
    api_key: str = field(repr=False)
    """An admin's key of the team `default`."""

    def api(self, *, project: str | None = None) -> Api:
        """A client of it."""
        from modelkeep._api import Api  # noqa: PLC0415 - as light to import as the rest

        return Api(self.url, self.api_key, project=project)


@contextmanager
def local_suite() -> Iterator[Suite]:
    """Run the whole suite in this process, and forget all of it at the end.

    A process that is forked while the suite runs in it cannot use Modelkeep; use multiprocessing's 'spawn' there.
    """
    from modelkeep_server import embedded  # noqa: PLC0415 - the one door to the server, and only when it is used

    with tempfile.TemporaryDirectory(prefix="modelkeep-") as folder:
        running = embedded.start(data_dir=Path(folder))
        try:
            yield Suite(running.url, running.api_key)
        finally:
            running.stop()
