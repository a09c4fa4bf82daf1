"""Replaying what runs recorded offline: each record once, in its order, however often a sync is killed and begun again.

What was done is noted in `sync.jsonl` beside the journal, step by step. A sync that is killed between a step and its note does
the step again with the same request id, which is made from the record: so the server answers as before (SEM-14), also to
another process. A step whose id the server has forgotten is safe too: content is found by its digest (SEM-11), a draft that
became a version answers with that version, and a use counts once per run and version (SEM-39).
"""

from __future__ import annotations

import fcntl
import os
import shlex
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING, Any, Final, TypeVar

from modelkeep._offline_find import LOCK, NOTES, head_of, is_run, time_of
from modelkeep._offline_journal import Journal, cannot_record
from modelkeep._offline_leftover import is_alive, is_blank, remove
from modelkeep._offline_version import JOURNAL
from modelkeep._sync_record import Notes, Replay, Step
from modelkeep._sync_run import KINDS
from modelkeep.errors import (
    DeadlineExceeded,
    InvalidArgument,
    ModelkeepError,
    RunDeleted,
    RunExists,
    RunNotFound,
    SyncFailed,
    Unauthenticated,
    Unavailable,
    rebuild,
)
from modelkeep.names import parse_identifier

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from modelkeep._channel import Connection
    from modelkeep._offline_journal import Record

T = TypeVar("T")

OF_THE_SERVER: Final = (Unavailable, DeadlineExceeded, Unauthenticated)
"""What goes wrong for every run alike: it stops a sync, and is no fault of a record."""


@dataclass
class Outcome:
    """What a sync did with one run."""

    folder: str
    run: str = ""
    name: str = ""
    project: str = ""
    records: int = 0
    """How many records the run has so far."""
    begun: bool = False
    """Whether the server was told now that the run began."""
    is_kept: bool = True
    """Whether the server keeps runs; one that does not gets only what was logged and used."""
    waiting: int = 0
    """How many records wait until it does."""
    steps: list[Step] = field(default_factory=list)
    """What was replayed now."""
    torn: bool = False
    """Whether the last record was never completed, and was left out."""
    blank: bool = False
    """Whether the run ended before its first record was complete, so that there is nothing to replay."""
    removed: bool = False
    error: SyncFailed | None = None

    @property
    def state(self) -> str:
        """`synced`, `failed`, or `unchanged` when there was nothing left to replay."""
        if self.error is not None:
            return "failed"
        return "synced" if self.steps or self.begun else "unchanged"


def sync(
    connection: Connection, folders: Iterable[str], *, clean: bool = False, skip: int | None = None, run_id: str = ""
) -> Iterator[Outcome]:
    """Replay runs, oldest first. A run that fails stops where it failed, and the others go on.

    `skip` leaves one record out, by its number, for good. `run_id` replays a run that did not begin yet under another id, now
    and in later syncs. `clean` removes the folder of a run that is replayed to its end and records no more. Raises
    ServiceUnavailable, DeadlineExceeded and Unauthenticated at once: what was replayed until then is noted, and the next sync
    goes on there. A run that is just beginning is left to the next one.
    """
    for folder in sorted(set(folders), key=lambda folder: (time_of(folder), folder)):
        outcome = Outcome(folder)
        if not is_run(folder):
            continue  # another sync removed it just now
        try:
            with _locked(folder):
                is_over = not is_alive(folder)  # asked first: until its end a run may record more than is read here
                outcome.blank = is_blank(folder)
                if outcome.blank and not is_over:
                    continue  # it is just beginning
                if not outcome.blank:
                    _replay(connection, outcome, skip, run_id)
                if clean and is_over and outcome.is_kept:
                    remove(folder)
                    outcome.removed = True
        except SyncFailed as failed:
            outcome.error = failed
        yield outcome


def _replay(connection: Connection, outcome: Outcome, skip: int | None, run_id: str) -> None:
    journal = Journal(os.path.join(outcome.folder, JOURNAL))
    records = journal.read()
    head = head_of(records, outcome.folder)
    notes = Notes(outcome.folder)
    if run_id:
        _rename(outcome, notes, run_id)
    values = head.values
    outcome.run, outcome.name, outcome.project = notes.run or values["run"], values["name"], values["project"]
    way = _Pass(connection, outcome, head, notes)
    try:
        way.begin()
        for record in records:
            outcome.records += 1
            if record.number == skip and not notes.has(record):
                notes.add("done", record=record.number, skipped=True)
                outcome.steps.append(Step(record.number, "skipped", ""))
            else:
                way.take(record)
        way.end()
    finally:
        with suppress(ModelkeepError):
            outcome.records += sum(1 for _ in records)
    outcome.torn = journal.torn


def _rename(outcome: Outcome, notes: Notes, run_id: str) -> None:
    """Replay the run under another id. Raises SyncFailed when it began already."""
    if notes.run == run_id:
        return
    if notes.begun and notes.is_kept:
        message = (
            f"the run in {outcome.folder!r} began on the server, so that it keeps its id: sync it without --run-id; where it"
            f" was deleted there, remove {NOTES} from its folder first, to replay all of it under the new one"
        )
        raise SyncFailed(message, step="run", folder=outcome.folder, record=0)
    notes.add("run", run=parse_identifier(run_id, "run id"))


class _Pass:
    """One way through the records of a run. Its end comes last: a forked child may have told something after it."""

    def __init__(self, connection: Connection, outcome: Outcome, head: Record, notes: Notes) -> None:
        self._connection = connection
        self._outcome = outcome
        self._head = self._last = head
        self._notes = notes
        self._replay: Replay | None = None
        self._finish: Record | None = None

    def begin(self) -> None:
        """Begin the run, unless that was done; a server that kept no runs is asked each time whether it does by now."""
        outcome, notes = self._outcome, self._notes
        if not (notes.begun and notes.is_kept):
            was_begun = notes.begun
            self._open()
            outcome.begun = notes.is_kept or not was_begun
        outcome.is_kept = notes.is_kept

    def take(self, record: Record) -> None:
        """Replay a record, unless it was, or waits."""
        self._last = record
        if record.kind == "finish":
            self._finish = record
        if self._notes.has(record):
            return
        if record.kind in KINDS and not self._notes.is_kept:
            self._outcome.waiting += 1
        elif record.kind != "finish":
            self._do(record)

    def end(self) -> None:
        """End the run, if that was recorded; once more, if it was resumed for what came after its end."""
        finish = self._finish
        if finish is None or not self._notes.is_kept:
            return
        if not self._notes.has(finish):
            self._do(finish)
        if self._notes.reopened:
            replay = self._open()
            _attempt(replay, partial(replay.end_again, finish, self._last), finish, self._outcome)

    def _do(self, record: Record) -> None:
        replay = self._open()
        is_late = self._finish is not None and self._finish is not record
        self._outcome.steps.append(_attempt(replay, partial(replay.replay, record, is_late=is_late), record, self._outcome))

    def _open(self) -> Replay:
        if self._replay is None:
            self._replay = _begin(self._connection, self._outcome, self._head, self._notes)
        return self._replay


def _begin(connection: Connection, outcome: Outcome, head: Record, notes: Notes) -> Replay:
    try:
        replay = Replay(connection, outcome.folder, head, notes)
    except InvalidArgument as error:
        message = f"the run in {outcome.folder!r} cannot be replayed: {error.message}"
        raise SyncFailed(message, step="read", path=outcome.folder, record=0) from None
    _attempt(replay, replay.begin, head, outcome)
    return replay


def _attempt(replay: Replay, step: Callable[[], T], record: Record, outcome: Outcome) -> T:
    try:
        return step()
    except OF_THE_SERVER as error:
        message = f"the sync stopped at {_where(record, outcome)}: {error.message}; run it again to go on from there"
        raise rebuild(error.code, error.reason, message, error.metadata, error.request_id) from None
    except (ModelkeepError, OSError) as error:
        raise _failed(replay.step, record, outcome, error) from None
    except (KeyError, TypeError, ValueError) as error:  # what no modelkeep wrote
        lacks = InvalidArgument(f"it is no record ({type(error).__name__}: {error})", field=record.kind)
        raise _failed(replay.step, record, outcome, lacks) from None


def _failed(step: str, record: Record, outcome: Outcome, error: Exception) -> SyncFailed:
    rest = "nothing after it was, to keep the order: mend it"
    if record.number:
        rest += f", or leave it out with --skip {record.number}"
    if isinstance(error, RunDeleted) and record.number:
        rest += f", or remove {NOTES} from the folder, and replay all of it under another id: {_under_another_id(outcome)}"
    elif isinstance(error, RunExists | RunDeleted | RunNotFound) and not record.number:
        rest += f", or begin it under another id: {_under_another_id(outcome)}"
    message = f"{_where(record, outcome)} cannot be replayed: {error} (step {step!r}); {rest}"
    about: dict[str, Any] = dict(error.metadata) if isinstance(error, ModelkeepError) else {}
    reason = getattr(error, "reason", "") or type(error).__name__
    about |= {"step": step, "record": record.number, "run": outcome.run, "folder": outcome.folder, "why": reason}
    return SyncFailed(message, **about)


def _under_another_id(outcome: Outcome) -> str:
    return f"modelkeep sync {shlex.quote(outcome.folder)} --run-id NEW"


def _where(record: Record, outcome: Outcome) -> str:
    what = f" ({record.kind} {record.values['collection']})" if "collection" in record.values else ""
    return f"record {record.number}{what} of the run {outcome.name} in {outcome.folder!r}"


@contextmanager
def _locked(folder: str) -> Iterator[None]:
    """Keep other syncs away from a run. Raises SyncFailed when one is at it."""
    path = os.path.join(folder, LOCK)
    try:
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o666)
    except OSError as error:
        raise _unusable(path, error) from None
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        yield
    except BlockingIOError:
        raise SyncFailed(f"another sync is at {folder!r}; wait for its end", step="lock", folder=folder) from None
    finally:
        os.close(descriptor)


def _unusable(path: str, error: OSError) -> SyncFailed:
    return SyncFailed(cannot_record(path, error).message, step="read", path=path)
