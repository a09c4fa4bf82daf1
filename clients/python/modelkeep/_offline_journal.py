"""The journal of a run that records to disk: a line for each record, on disk before the call that made it returns.

A line is the first 16 hex digits of the SHA-256 of a JSON text, a space, and that text. Lines are only ever appended. What is
left of a line whose writer was killed in the middle, or lost power, is dropped, by whoever appends or reads next.
"""

from __future__ import annotations

import errno
import fcntl
import hashlib
import json
import os
import threading
from concurrent.futures import Future
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from modelkeep.errors import DiskFull, InvalidArgument, ModelkeepError, SyncFailed, TargetUnusable

if TYPE_CHECKING:
    from collections.abc import Iterator

_SUM_DIGITS: Final = 16
_TAIL_BYTES: Final = 1 << 16


@dataclass(frozen=True, slots=True)
class Record:
    """One line."""

    number: int
    """Counts from 0."""
    kind: str
    values: dict[str, Any]
    text: str
    """The JSON text, from which the ids of its requests are made."""


class Journal:
    """A journal, for any number of writers: threads, and processes that were forked."""

    def __init__(self, path: str) -> None:
        self.path = path
        self.torn = False
        """Whether the last reading found the rest of a line that was never completed."""
        self._known = (0, 0)

    def append(self, kind: str, **values: Any) -> Record:
        """Write a record, durably. Raises InvalidArgument, DiskFull, TargetUnusable; then nothing of it is left.

        What the main thread writes is written by a thread of its own: a signal handler that interrupts it may then append too.
        """
        if threading.current_thread() is not threading.main_thread():
            return self._append(kind, values)
        done: Future[Record] = Future()

        def work() -> None:
            try:
                done.set_result(self._append(kind, values))
            except BaseException as error:  # noqa: BLE001 - it is raised where one waits
                done.set_exception(error)

        try:
            threading.Thread(target=work, name="modelkeep-journal").start()
        except RuntimeError:  # Python ends, and starts no more threads
            work()
        return done.result()

    def _append(self, kind: str, values: dict[str, Any]) -> Record:
        try:
            # A descriptor of its own: locks of flock are shared by threads and forked children that share one.
            descriptor = os.open(self.path, os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o666)
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX)
                number = self._count(descriptor)
                text = json.dumps({"n": number, "kind": kind, **values}, ensure_ascii=False, separators=(",", ":"))
                self._write(descriptor, f"{_sum(text)} {text}\n".encode())
            finally:
                fcntl.flock(descriptor, fcntl.LOCK_UN)  # a child that was forked meanwhile has the file open too
                os.close(descriptor)
        except OSError as error:
            raise cannot_record(self.path, error) from None
        except UnicodeEncodeError:
            message = "a name or a text of it has characters that UTF-8 cannot hold, so it was not recorded"
            raise InvalidArgument(message, field=kind) from None
        return Record(number, kind, values, text)

    def _count(self, descriptor: int) -> int:
        """How many lines there are; a part of a line at the end is cut off.

        So is, when the file is read for the first time, a last line that is not what was written, as a power loss leaves it.
        """
        size, count = self._known
        end = os.fstat(descriptor).st_size
        if end < size:
            size = count = 0
        is_known = size > 0
        last = whole = size
        while size < end:
            data = os.pread(descriptor, min(_TAIL_BYTES, end - size), size)
            if lines := data.count(b"\n"):
                stop = data.rindex(b"\n")
                last = size + data.rindex(b"\n", 0, stop) + 1 if lines > 1 else whole
                whole = size + stop + 1
                count += lines
            size += len(data)
        if count and whole == end and not is_known and _text_of(_read(descriptor, last, whole)) is None:
            whole, count = last, count - 1
        if whole < end:
            os.ftruncate(descriptor, whole)
        self._known = (whole, count)
        return count

    def _write(self, descriptor: int, line: bytes) -> None:
        size, count = self._known
        try:
            view = memoryview(line)
            while view:
                view = view[os.write(descriptor, view) :]
            os.fsync(descriptor)
        except OSError:
            os.ftruncate(descriptor, size)
            raise
        self._known = (size + len(line), count + 1)

    def read(self) -> Iterator[Record]:
        """The records, in order. What is left of an incomplete last line is dropped, and `torn` says so.

        Raises SyncFailed when it comes to a line in the middle that is not what was written.
        """
        self.torn = False
        number = 0
        try:
            with open(self.path, "rb") as file:
                for line in file:
                    record = _parse(line, number)
                    if record is None:
                        # One without its end was the last: if more has come by now, it was being written.
                        if line.endswith(b"\n") and file.read(1):
                            message = f"line {number + 1} of {self.path!r} is not what was written: the file is damaged"
                            raise SyncFailed(message, step="read", path=self.path, record=number)
                        self.torn = True
                        return
                    yield record
                    number += 1
        except OSError as error:
            raise cannot_record(self.path, error) from None


def _read(descriptor: int, start: int, end: int) -> bytes:
    with open(descriptor, "rb", closefd=False) as file:
        file.seek(start)
        return file.read(end - start)


def _parse(line: bytes, number: int) -> Record | None:
    """The record in a line; None when it is not what was written."""
    text = _text_of(line)
    if text is None:
        return None
    try:
        values = json.loads(text)
    except ValueError:
        return None
    if not isinstance(values, dict) or values.pop("n", None) != number or not isinstance(values.get("kind"), str):
        return None
    return Record(number, values.pop("kind"), values, text)


def _text_of(line: bytes) -> str | None:
    """The JSON text in a line; None when the line is not whole, or its checksum is wrong."""
    try:
        check, _, text = line.decode().partition(" ")
    except ValueError:
        return None
    return text[:-1] if text.endswith("\n") and check == _sum(text[:-1]) else None


def _sum(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:_SUM_DIGITS]


def cannot_record(path: str, error: OSError) -> ModelkeepError:
    """What an OSError in an offline folder means to the one whose run records there."""
    if error.errno in {errno.ENOSPC, errno.EDQUOT}:
        return DiskFull(f"the disk of {path!r} is full; free some space, nothing of this was recorded", path=path)
    return TargetUnusable(f"{path!r} cannot be used for offline work: {error.strerror or error}", path=path)
