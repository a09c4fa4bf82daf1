"""Progress bars on a terminal; nothing in a pipe, in a log file, or with `MODELKEEP_PROGRESS=0`."""

from __future__ import annotations

import os
import sys
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator


def wanted() -> bool:
    """Whether anybody would see a progress bar."""
    return sys.stderr is not None and sys.stderr.isatty() and os.environ.get("MODELKEEP_PROGRESS", "") != "0"


@contextmanager
def bar(what: str, total_bytes: int | None) -> Iterator[Callable[[int], None]]:
    """A bar of bytes, as a function to advance it by; it may be called from any thread. What has no name has no bar."""
    if not what or not wanted():
        yield lambda _: None
        return
    from rich.console import Console  # noqa: PLC0415 - a script in a pipe needs none of it
    from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeRemainingColumn, TransferSpeedColumn  # noqa: PLC0415

    columns = (TextColumn("{task.description}"), BarColumn(), DownloadColumn(), TransferSpeedColumn(), TimeRemainingColumn())
    with Progress(*columns, console=Console(stderr=True), transient=True) as progress:
        task = progress.add_task(what, total=total_bytes)
        yield lambda size_bytes: progress.advance(task, size_bytes)
