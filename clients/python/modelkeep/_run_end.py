"""The end of a process whose runs were not finished: what they logged is sent, and they end as the script did."""

from __future__ import annotations

import atexit
import concurrent.futures.thread  # noqa: F401 - first, so that its end comes after ours
import logging
import sys
import threading
from typing import TYPE_CHECKING, Any, Final, Literal, Protocol

if TYPE_CHECKING:
    from types import TracebackType

_log: Final = logging.getLogger("modelkeep")


class Endable(Protocol):
    """A run."""

    name: Any

    def finish(self, state: Literal["finished", "failed"] = ...) -> None:
        """End it."""


class _Script:
    """How the script of this process fares."""

    def __init__(self) -> None:
        self.open: set[Any] = set()
        self.has_failed = False
        self.before = sys.excepthook
        self.last = id(None)
        """The id of the last exception that nobody caught before; not itself, which would keep all that was at hand there."""
        self.is_watched = False

    def watch(self) -> None:
        """See an exception that nobody catches."""
        if not self.is_watched:
            self.is_watched = True
            self.before, self.last = sys.excepthook, id(getattr(sys, "last_value", None))
            sys.excepthook = self._excepthook

    def has_ended_badly(self) -> bool:
        """Whether there was one; also where somebody has put another hook in place of ours since, as rich and typer do.

        A prompt and a notebook go on after an error, and note it in the same place.
        """
        is_replaced = sys.excepthook != self._excepthook and not hasattr(sys, "ps1")
        return self.has_failed or (is_replaced and id(getattr(sys, "last_value", None)) != self.last)

    def _excepthook(self, kind: type[BaseException], error: BaseException, traceback: TracebackType | None) -> None:
        self.has_failed = True
        self.before(kind, error, traceback)


_script: Final = _Script()


def began(run: Endable) -> None:
    """A run is open, and is to be ended with the process."""
    _script.open.add(run)
    _script.watch()


def ended(run: Endable) -> None:
    """A run is no business of this process any more."""
    _script.open.discard(run)


def is_open(run: Endable) -> bool:
    """Whether a run will be ended with the process."""
    return run in _script.open


def raise_first(failures: list[Exception]) -> None:
    """Raise the first of several failures, the others as notes; nothing when there is none."""
    if failures:
        for other in failures[1:]:
            for note in (f"and then: {other}", *getattr(other, "__notes__", ())):
                failures[0].add_note(note)
        raise failures[0]


def _end_forgotten() -> None:
    """At the end of a script that forgot to: nothing that was to be logged is lost, and what failed is shown."""
    for run in list(_script.open):
        try:
            run.finish("failed" if _script.has_ended_badly() else "finished")
        except Exception:  # noqa: BLE001 - there is nobody to raise it to any more
            _log.exception("the run %s was never finished, and something of it failed", run.name)


# atexit comes too late: by then concurrent.futures takes no work any more, which an upload that goes on needs.
getattr(threading, "_register_atexit", atexit.register)(_end_forgotten)
