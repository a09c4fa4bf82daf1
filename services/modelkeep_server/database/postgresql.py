"""Connections to PostgreSQL on which neither side waits for ever for the other, whose host may be gone without a farewell.

By themselves both would: a network that is cut, or a host without power, ends nobody's connection. The locks of a transaction
that such a host had begun were held for two hours, which is when PostgreSQL first asks whether it is there.
"""

from __future__ import annotations

import socket
from typing import Any, Final

import asyncpg

SILENT_SECONDS: Final = 60
"""After so long a side that does not answer is gone."""
IDLE_SECONDS: Final = 120
"""How long a transaction may be left alone, by a process that is stopped or whose host is gone."""
_FIRST_PROBE_SECONDS: Final = SILENT_SECONDS // 2
_PROBE_SECONDS: Final = SILENT_SECONDS // 6
_PROBES: Final = 3

# By a statement, since what stands between may refuse to be told such things as a connection begins: PgBouncer does.
_SETTINGS: Final = f"""
    SET idle_in_transaction_session_timeout = '{IDLE_SECONDS}s';
    SET tcp_user_timeout = '{SILENT_SECONDS}s';
    SET tcp_keepalives_idle = {_FIRST_PROBE_SECONDS};
    SET tcp_keepalives_interval = {_PROBE_SECONDS};
    SET tcp_keepalives_count = {_PROBES}
"""
_OPTIONS: Final = (
    ("TCP_USER_TIMEOUT", SILENT_SECONDS * 1000),
    ("TCP_KEEPIDLE", _FIRST_PROBE_SECONDS),
    ("TCP_KEEPINTVL", _PROBE_SECONDS),
    ("TCP_KEEPCNT", _PROBES),
)


async def connect(*args: Any, **options: Any) -> asyncpg.Connection:
    """A connection, as sqlalchemy asks for it."""
    connection = await asyncpg.connect(*args, **options)
    try:
        _keep_alive(connection._transport.get_extra_info("socket"))  # noqa: SLF001 - asyncpg has no other way to its socket
        await connection.execute(_SETTINGS)
    except BaseException:
        connection.terminate()
        raise
    return connection


def _keep_alive(connected: socket.socket) -> None:
    """Have the kernel ask whether the database's host is there; a socket of this host is closed with its process."""
    if connected.family == socket.AF_UNIX:
        return
    connected.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    for name, value in _OPTIONS:
        if hasattr(socket, name):  # not every system has each
            connected.setsockopt(socket.IPPROTO_TCP, getattr(socket, name), value)
