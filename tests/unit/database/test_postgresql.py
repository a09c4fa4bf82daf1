"""A host that is gone without a farewell: neither side of a connection waits for it for ever."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from modelkeep_server.database.engine import Database
from sqlalchemy import make_url, text
from sqlalchemy.ext.asyncio import AsyncSession

from tests import servers


async def _copy(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    while data := await reader.read(1 << 16):
        writer.write(data)
        await writer.drain()
    writer.close()


@asynccontextmanager
async def over_tcp(url: str) -> AsyncIterator[str]:
    """The URL of the same database by a port; the one of the tests listens on a socket of this host only."""
    address = make_url(url)
    path = f"{address.query['host']}/.s.PGSQL.{address.port or 5432}"

    async def relay(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        up_reader, up_writer = await asyncio.open_unix_connection(path)
        await asyncio.gather(_copy(reader, up_writer), _copy(up_reader, writer), return_exceptions=True)

    async with await asyncio.start_server(relay, "127.0.0.1", 0) as server:
        port = server.sockets[0].getsockname()[1]
        there = address.set(host="127.0.0.1", port=port).difference_update_query(["host"])
        yield there.render_as_string(hide_password=False)


async def test_the_kernel_asks_whether_the_host_of_the_database_is_there() -> None:
    async with over_tcp(servers.postgres_url()) as url:
        database = Database(url)

        async def options(session: AsyncSession) -> dict[str, int]:
            raw = await (await session.connection()).get_raw_connection()
            connected = raw.driver_connection._transport.get_extra_info("socket")  # type: ignore[union-attr]
            names = ("TCP_USER_TIMEOUT", "TCP_KEEPIDLE", "TCP_KEEPINTVL", "TCP_KEEPCNT")
            found = {name: connected.getsockopt(socket.IPPROTO_TCP, getattr(socket, name)) for name in names}
            return {"SO_KEEPALIVE": connected.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE), **found}

        assert await database.look(options) == {
            "SO_KEEPALIVE": 1,
            "TCP_USER_TIMEOUT": 60_000,
            "TCP_KEEPIDLE": 30,
            "TCP_KEEPINTVL": 10,
            "TCP_KEEPCNT": 3,
        }
        await database.close()


async def test_the_database_does_not_keep_the_locks_of_a_host_that_is_gone() -> None:
    database = Database(servers.postgres_url())

    async def setting(session: AsyncSession) -> object:
        return await session.scalar(text("SHOW idle_in_transaction_session_timeout"))

    assert await database.look(setting) == "2min"
    assert await database.read(setting) == "2min"
    await database.close()


async def test_a_transaction_that_was_left_alone_for_too_long_is_done_again() -> None:
    """As one of a process that was stopped and goes on. Another had its locks meanwhile: it begins with what that one wrote."""
    database = Database(servers.postgres_url())
    await database.write(lambda session: session.execute(text("CREATE TABLE counts AS SELECT 0 AS value")))
    other = Database(database.url.render_as_string(hide_password=False))
    tries = 0

    async def count(session: AsyncSession) -> None:
        nonlocal tries
        tries += 1
        value = await session.scalar(text("SELECT value FROM counts FOR UPDATE"))
        if tries == 1:  # it is stopped here: the other one waits for the lock until the database lets go of it
            await session.execute(text("SET idle_in_transaction_session_timeout = '100ms'"))
            await other.write(lambda session: session.execute(text("UPDATE counts SET value = value + 10")))
        await session.execute(text("UPDATE counts SET value = :value"), {"value": value + 1})

    await database.write(count)
    assert await database.look(lambda session: session.scalar(text("SELECT value FROM counts"))) == 11
    assert tries == 2
    await other.close()
    await database.close()
