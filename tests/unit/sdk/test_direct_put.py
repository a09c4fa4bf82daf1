"""PUTs to a store that answers late, shortly, wrongly, or not at all."""

from __future__ import annotations

import hashlib
import os
import socket
import struct
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest
from modelkeep import _direct_put
from modelkeep._artifact import Source
from modelkeep._direct import StoreFailed
from modelkeep._direct_put import Puts
from modelkeep._pieces import FileRead, Piece, open_source
from modelkeep.config import Config
from modelkeep.errors import FileChanged

OK = b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"
RESET = b"reset"
SIZE = 3_000_000


class Server:
    """Answers each request with the next of `answers`; None closes the connection before any answer, RESET resets it."""

    def __init__(self, answers: list[bytes | None], *, reads: bool = True) -> None:
        self.answers = answers
        self.reads = reads
        self.heads: list[bytes] = []
        self.bodies: list[bytes] = []
        self.connections = 0
        self._listening = socket.create_server(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{self._listening.getsockname()[1]}/bucket/chunk?X-Amz-Signature=canary"
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self) -> None:
        with suppress(OSError):
            while True:
                connection, _ = self._listening.accept()
                self.connections += 1
                threading.Thread(target=self._serve, args=(connection,), daemon=True).start()

    def _serve(self, connection: socket.socket) -> None:
        with connection, suppress(OSError):
            while self.answers:
                data = b""
                while b"\r\n\r\n" not in data:
                    more = connection.recv(65_536)
                    if not more:
                        return
                    data += more
                head, _, body = data.partition(b"\r\n\r\n")
                length = int(head.lower().split(b"content-length:")[1].split()[0])
                while self.reads and len(body) < length:
                    more = connection.recv(1 << 20)
                    if not more:
                        return
                    body += more
                self.heads.append(head)
                self.bodies.append(body)
                answer = self.answers.pop(0)
                if answer is None:
                    return
                if answer == RESET:
                    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                    return
                connection.sendall(answer)
                if not self.reads:
                    connection.shutdown(socket.SHUT_WR)
                    while connection.recv(1 << 20):
                        pass
                    return

    def close(self) -> None:
        self._listening.close()


@contextmanager
def serving(*answers: bytes | None, reads: bool = True) -> Iterator[Server]:
    server = Server(list(answers), reads=reads)
    try:
        yield server
    finally:
        server.close()


@pytest.fixture
def piece(tmp_path: Path) -> Piece:
    path = tmp_path / "file"
    data = os.urandom(SIZE + 1000)
    path.write_bytes(data)
    source = Source("f", str(path))
    descriptor, status = open_source(source)
    os.close(descriptor)
    return Piece(hashlib.sha256(data[500:-500]).digest(), SIZE, file=FileRead(source, status), offset=500)


@pytest.fixture
def puts() -> Iterator[Puts]:
    made = Puts(Config("grpc://127.0.0.1:1", "mk_key"))
    yield made
    made.close()


def test_the_bytes_arrive_and_the_connection_is_kept(puts: Puts, piece: Piece) -> None:
    with serving(
        OK, b"HTTP/1.1 200 OK\r\nETag: x\r\ncontent-length: 3\r\n\r\nabc", b"HTTP/1.1 204 No Content\r\n\r\n", OK
    ) as server:
        for _ in range(4):
            puts.put(server.url, piece)
        assert server.connections == 1
        assert {hashlib.sha256(body).digest() for body in server.bodies} == {piece.sha256}
        assert server.heads[0].splitlines()[0] == b"PUT /bucket/chunk?X-Amz-Signature=canary HTTP/1.1"


def test_without_sendfile_the_same_arrives(puts: Puts, piece: Piece, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_direct_put, "_SENDS_FILES", False)
    with serving(OK) as server:
        puts.put(server.url, piece)
        assert hashlib.sha256(server.bodies[0]).digest() == piece.sha256


@pytest.mark.parametrize(
    "first",
    [
        b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 0\r\n\r\n",
        b"HTTP/1.0 200 OK\r\n\r\n",
        b"HTTP/1.1 200 OK\r\n\r\n",
    ],
)
def test_a_connection_that_ends_with_its_answer_is_not_used_again(puts: Puts, piece: Piece, first: bytes) -> None:
    with serving(first, OK) as server:
        puts.put(server.url, piece)
        puts.put(server.url, piece)
        assert server.connections == 2


@pytest.mark.parametrize("end", [None, RESET], ids=["closed", "reset"])
def test_a_kept_connection_that_the_store_closed_is_replaced(puts: Puts, piece: Piece, end: bytes | None) -> None:
    """What is sent to a store that has just closed it is answered with a reset, which comes sooner or later."""
    with serving(OK, end, OK) as server:
        puts.put(server.url, piece)
        puts.put(server.url, piece)
        assert server.connections == 2


@pytest.mark.parametrize("status", [301, 400, 403, 404, 429, 500, 503])
def test_what_is_no_success_is_told_with_its_status(puts: Puts, piece: Piece, status: int) -> None:
    with serving(f"HTTP/1.1 {status} X\r\nContent-Length: 4\r\n\r\nbody".encode()) as server:
        with pytest.raises(StoreFailed) as caught:
            puts.put(server.url, piece)
        assert caught.value.status == status
        assert caught.value.busy == (status in {429, 500, 503})
        assert caught.value.reached


def test_a_refusal_that_comes_before_the_end_is_read(puts: Puts, piece: Piece) -> None:
    with serving(b"HTTP/1.1 403 Forbidden\r\nContent-Length: 0\r\n\r\n", reads=False) as server:
        with pytest.raises(StoreFailed) as caught:
            puts.put(server.url, piece)
        assert caught.value.status == 403


@pytest.mark.peer("M-UP-4")
@pytest.mark.parametrize("answer", [None, b"HTTP/1.1 2", b"220 smtp ready\r\n\r\n", b"x" * 100_000, b"HTTP/1.1 abc\r\n\r\n"])
def test_an_answer_that_is_none_is_a_failure(puts: Puts, piece: Piece, answer: bytes | None) -> None:
    with serving(answer, None) as server:
        if answer and b"\r\n\r\n" not in answer and len(answer) < 1000:
            server.answers.pop()  # it ends in the middle
        with pytest.raises(StoreFailed):
            puts.put(server.url, piece)


def test_a_store_that_is_silent_is_given_up(puts: Puts, piece: Piece, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(puts, "silence_seconds", 1)
    hangs = socket.create_server(("127.0.0.1", 0))
    with hangs, pytest.raises(StoreFailed, match="silent") as caught:
        puts.put(f"http://127.0.0.1:{hangs.getsockname()[1]}/x", piece)
    assert not caught.value.busy  # fewer requests would not help
    assert not caught.value.reached


def test_a_store_that_is_not_there_was_not_reached(puts: Puts, piece: Piece) -> None:
    with socket.socket() as taken:  # a port that nobody listens on, and that nobody else can take meanwhile
        taken.bind(("127.0.0.1", 0))
        with pytest.raises(StoreFailed) as caught:
            puts.put(f"http://127.0.0.1:{taken.getsockname()[1]}/x", piece)
    assert not caught.value.reached


@pytest.mark.peer("M-UP-3")
def test_a_file_that_was_cut_off_meanwhile_is_told_by_name(puts: Puts, piece: Piece, tmp_path: Path) -> None:
    os.truncate(tmp_path / "file", SIZE // 2)
    with serving(OK) as server, pytest.raises(FileChanged, match="file"):
        puts.put(server.url, piece)
    assert server.bodies == []


@pytest.mark.peer("M-SEC-1")
@pytest.mark.parametrize(
    "spoil",
    [lambda s: s.close(), lambda s: s.answers.insert(0, b"HTTP/1.1 403 X\r\n\r\n"), lambda s: s.answers.insert(0, None)],
)
def test_no_error_repeats_the_url(puts: Puts, piece: Piece, spoil: Callable[[Server], None]) -> None:
    with serving() as server:
        spoil(server)
        with pytest.raises(StoreFailed) as caught:
            puts.put(server.url, piece)
    error: BaseException | None = caught.value
    while error is not None:
        assert "canary" not in repr(error)
        error = error.__cause__ or error.__context__
    assert "canary" not in str(caught.value.as_error())
