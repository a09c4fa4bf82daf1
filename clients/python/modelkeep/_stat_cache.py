"""What is known of files that were logged before, so that an unchanged one need not be read again.

A file is taken for the same when device, inode, size and both times are; one that was written to in the two seconds before it
was read is not remembered, as in git. The cache only ever saves reading: the server is asked for every chunk all the same.
Several processes share the file. One that is damaged, or cannot be used, is as good as none: it is thrown away in silence.
"""

from __future__ import annotations

import hashlib
import os
import sqlite3
import struct
import time
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Final, NamedTuple

from modelkeep import config
from modelkeep._fork import gate

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from modelkeep._pieces import Identity

FILE: Final = "stat.sqlite"
MOST_BYTES: Final = 256 << 20
"""A larger cache loses what was not used for longest."""
WAITING: Final = 2000
"""New rows are written so many at a time."""
BUSY_SECONDS: Final = 2.0
_DAY_SECONDS: Final = 86_400
_SCHEMA: Final = """
PRAGMA journal_mode = WAL;
PRAGMA synchronous = NORMAL;
CREATE TABLE IF NOT EXISTS file (
  device INTEGER NOT NULL, inode INTEGER NOT NULL, size INTEGER NOT NULL, mtime INTEGER NOT NULL, ctime INTEGER NOT NULL,
  rules BLOB NOT NULL, sha256 BLOB NOT NULL, segments BLOB NOT NULL, proof BLOB NOT NULL, used INTEGER NOT NULL,
  PRIMARY KEY (device, inode)
) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS pack (
  key BLOB PRIMARY KEY, sha256 BLOB NOT NULL, proof BLOB NOT NULL, used INTEGER NOT NULL
) WITHOUT ROWID;
"""
_FIND: Final = (
    "SELECT device, inode, size, mtime, ctime, rules, sha256, segments, proof, used FROM file WHERE device = ? AND inode IN "
)
_IDENTITY: Final = struct.Struct(">QQqqq")


class Row(NamedTuple):
    """What is known of a file."""

    sha256: bytes
    segments: bytes
    """Empty for a file that is packed."""


class StatCache:
    """An open cache. One thread uses it at a time."""

    def __init__(self, path: str, rules: bytes) -> None:
        self._path = path
        self._rules = rules
        self._files: list[tuple[object, ...]] = []
        self._packs: list[tuple[object, ...]] = []
        self._today = int(time.time()) // _DAY_SECONDS
        self._database: sqlite3.Connection | None = None
        self._is_over = False
        gate.members.add(self)

    def close_channels(self) -> bool:
        """Close the database before a fork, while nobody is inside: a child must not even inherit it. It is opened again."""
        self._let_go()
        return False

    def forget(self) -> None:
        """In a forked child there is nothing to forget: the database is closed, and what waits is the parent's to write."""

    def find(self, statuses: Sequence[os.stat_result | None]) -> list[Row | None]:
        """What is known of each of these files."""
        wanted: dict[int, list[int]] = {}
        for status in statuses:
            if status is not None:
                wanted.setdefault(_signed(status.st_dev), []).append(_signed(status.st_ino))
        rows: dict[tuple[int, int], tuple[object, ...]] = {}
        for device, inodes in wanted.items():
            marks = ",".join("?" * len(inodes))
            for row in self._query(f"{_FIND}({marks})", (device, *inodes)):
                rows[device, row[1]] = row  # type: ignore[index]
        if len(self._files) >= WAITING:
            self._flush()
        return [
            self._good(rows.get((_signed(status.st_dev), _signed(status.st_ino))), status) if status is not None else None
            for status in statuses
        ]

    def add(self, identity: Identity, sha256: bytes, segments: bytes | bytearray) -> None:
        """Remember a file that was read."""
        device, inode, *rest = identity
        segments = bytes(segments)
        proof = _proof(_key(identity), self._rules, sha256, segments)
        self._files.append((_signed(device), _signed(inode), *rest, self._rules, sha256, segments, proof, self._today))
        if len(self._files) >= WAITING or len(segments) > MOST_BYTES // 64:
            self._flush()

    def pack(self, key: bytes) -> bytes | None:
        """The digest of the chunk that is packed of such files."""
        for sha256, proof in self._query("SELECT sha256, proof FROM pack WHERE key = ?", (key,)):
            if isinstance(sha256, bytes) and len(sha256) == 32 and proof == _proof(key, sha256):
                return sha256
        return None

    def add_pack(self, key: bytes, sha256: bytes) -> None:
        """Remember a pack."""
        self._packs.append((key, sha256, _proof(key, sha256), self._today))
        if len(self._packs) >= WAITING:
            self._flush()

    def drop(self, identities: Iterable[Identity], pack: bytes = b"") -> None:
        """These turned out to be wrong."""
        self._flush()
        for device, inode, *_ in identities:
            self._change("DELETE FROM file WHERE device = ? AND inode = ?", [(_signed(device), _signed(inode))])
        if pack:
            self._change("DELETE FROM pack WHERE key = ?", [(pack,)])

    def close(self) -> None:
        """Write what waits, and let go."""
        self._flush()
        self._trim()
        with gate.call():
            self._let_go()
            self._is_over = True

    def _good(self, row: tuple[object, ...] | None, status: os.stat_result) -> Row | None:
        if row is None or row[2:5] != (status.st_size, status.st_mtime_ns, status.st_ctime_ns):
            return None
        rules, sha256, segments, proof, used = row[5:]
        if not (isinstance(rules, bytes) and isinstance(sha256, bytes) and isinstance(segments, bytes) and len(sha256) == 32):
            return None
        identity = (status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns, status.st_ctime_ns)
        if rules != self._rules or proof != _proof(_key(identity), rules, sha256, segments):
            return None
        if used != self._today:
            self._files.append((*row[:9], self._today))
        return Row(sha256, segments)

    @contextmanager
    def _inside(self) -> Iterator[sqlite3.Connection | None]:
        """The database, while no fork can happen: a child that inherits one of SQLite's own locks would wait for it forever."""
        with gate.call():
            if self._database is None and not self._is_over:
                self._database = self._open()
                self._is_over = self._database is None
            yield self._database

    def _open(self) -> sqlite3.Connection | None:
        for _ in range(2):
            try:
                database = sqlite3.connect(self._path, BUSY_SECONDS, isolation_level=None, check_same_thread=False)
                database.executescript(_SCHEMA)
            except sqlite3.OperationalError:
                return None  # it is locked, or the folder cannot be written to
            except sqlite3.DatabaseError:
                self._throw_away()
            else:
                return database
        return None

    def _throw_away(self) -> None:
        for ending in ("", "-wal", "-shm"):
            with suppress(OSError):
                os.unlink(self._path + ending)

    def _query(self, statement: str, values: Sequence[object]) -> list[tuple[object, ...]]:
        with self._inside() as database:
            try:
                return database.execute(statement, values).fetchall() if database is not None else []
            except sqlite3.OperationalError:
                return []
            except sqlite3.DatabaseError:
                self._give_up()
                return []

    def _flush(self) -> None:
        files, self._files = self._files, []
        packs, self._packs = self._packs, []
        self._change("INSERT OR REPLACE INTO file VALUES (?,?,?,?,?,?,?,?,?,?)", files)
        self._change("INSERT OR REPLACE INTO pack VALUES (?,?,?,?)", packs)

    def _change(self, statement: str, rows: Sequence[tuple[object, ...]]) -> None:
        if not rows:
            return
        with self._inside() as database:
            if database is None:
                return
            try:
                database.execute("BEGIN IMMEDIATE")
                database.executemany(statement, rows)
                database.execute("COMMIT")
            except sqlite3.OperationalError:
                with suppress(sqlite3.Error):
                    database.execute("ROLLBACK")
            except sqlite3.DatabaseError:
                self._give_up()

    def _give_up(self) -> None:
        """It is damaged: go on without, and let the next one begin anew."""
        self._let_go()
        self._is_over = True
        self._throw_away()

    def _let_go(self) -> None:
        database, self._database = self._database, None
        if database is not None:
            with suppress(sqlite3.Error):
                database.close()

    def _trim(self) -> None:
        pages = self._query("SELECT page_count * page_size FROM pragma_page_count(), pragma_page_size()", ())
        if not pages or not isinstance(pages[0][0], int) or pages[0][0] <= MOST_BYTES:
            return
        for table, key in (("file", "device, inode"), ("pack", "key")):
            older = f"SELECT {key} FROM {table} ORDER BY used LIMIT (SELECT count(*) / 2 FROM {table}) + ?"  # noqa: S608
            self._change(f"DELETE FROM {table} WHERE ({key}) IN ({older})", [(1,)])  # noqa: S608
        with self._inside() as database, suppress(sqlite3.Error):
            if database is not None:
                database.execute("VACUUM")


def open_stat_cache(rules: bytes) -> StatCache | None:
    """The cache of this user; None when it is switched off or cannot be used."""
    if not config.cache_limit_bytes():
        return None
    folder = config.cache_home()
    try:
        os.makedirs(folder, mode=0o700, exist_ok=True)
    except OSError:
        return None
    if not os.access(folder, os.W_OK):
        return None
    return StatCache(os.path.join(folder, FILE), rules)


def _key(identity: Identity) -> bytes:
    device, inode, size, mtime, ctime = identity
    return _IDENTITY.pack(device, inode, size, mtime, ctime)


def _proof(*parts: bytes) -> bytes:
    """Tells a row that was damaged on the disk from a good one."""
    return hashlib.blake2b(b"".join(parts), digest_size=8).digest()


def _signed(number: int) -> int:
    """As SQLite has it: inodes may have all 64 bits."""
    return number - (1 << 64) if number >> 63 else number
