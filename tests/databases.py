"""A database for one test: a copy of one that was made once, and gone when the test is over.

To make tables takes longer than what most tests do with them, and a thousand databases that stay are gigabytes to write.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from uuid import uuid4

import asyncpg

from tests import servers

Make = Callable[[str], Awaitable[object]]
"""Fills the empty database at a URL, and closes it."""

_files: dict[Make, bytes] = {}
_templates: dict[tuple[str, Make], str] = {}
"""The names of the databases to copy, by the server that they are on."""


@asynccontextmanager
async def copied(engine: str, folder: Path, make: Make) -> AsyncIterator[str]:
    """The URL of a database of one's own on that engine, as `make` leaves it."""
    if engine == "sqlite":
        url = f"sqlite:///{folder / uuid4().hex}.sqlite"
        await prepared(url, make)
        yield url
        return
    admin = servers.postgres()
    name, template = f"t{uuid4().hex}", await _template(admin, make)
    await _execute(admin, f'CREATE DATABASE "{name}" TEMPLATE "{template}" STRATEGY FILE_COPY')
    try:
        yield servers.of_database(admin, name)
    finally:
        await _execute(admin, f'DROP DATABASE "{name}" WITH (FORCE)')


async def prepared(url: str, make: Make) -> None:
    """Do what `make` would do to a database; a SQLite file that is not there yet is a copy."""
    file = Path(url.removeprefix("sqlite:///"))
    if _is_there(file) or not url.startswith("sqlite:"):
        await make(url)
        return
    if make not in _files:
        with TemporaryDirectory() as folder:
            await make(f"sqlite:///{folder}/made.sqlite")
            _files[make] = _only_file(Path(folder))
    _write(file, _files[make])


def _is_there(file: Path) -> bool:
    return file.exists()


def _only_file(folder: Path) -> bytes:
    (file,) = folder.iterdir()  # who has closed a database leaves no journal
    return file.read_bytes()


def _write(file: Path, content: bytes) -> None:
    file.write_bytes(content)


async def _template(admin: str, make: Make) -> str:
    if (admin, make) not in _templates:
        name = f"made{uuid4().hex}"
        await _execute(admin, f'CREATE DATABASE "{name}"')
        await make(servers.of_database(admin, name))
        _templates[admin, make] = name
    return _templates[admin, make]


async def _execute(admin: str, statement: str) -> None:
    connection = await asyncpg.connect(admin)
    try:
        await connection.execute(statement)
    finally:
        await connection.close()
