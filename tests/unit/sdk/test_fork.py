"""M-UP-2: forking a process that talks to a server, also while it does; a data loader forks whenever it likes."""

from __future__ import annotations

import os
import random
import subprocess
import sys
import textwrap
from collections.abc import Iterator
from weakref import WeakSet

import pytest
from modelkeep._fork import Forkable, Gate

from tests.unit.sdk.wire import Wire

pytestmark = [pytest.mark.peer("M-UP-2"), pytest.mark.skipif(not hasattr(os, "fork"), reason="this system has no fork")]

PROGRAM = """
    import multiprocessing, os, sys, threading
    from modelkeep._channel import Connection
    from modelkeep._fork import gate
    from modelkeep.api.blob.v1 import blob_service_pb2 as blob_pb
    from modelkeep.api.metadata.v1 import metadata_service_pb2 as pb
    from modelkeep.config import Config

    connection = Connection(Config(sys.argv[1], "mk_key"))

    def call():
        connection.metadata.GetTeam(pb.GetTeamRequest(name="teams/t"), timeout=20)
        list(connection.metadata.StreamEntries(pb.StreamEntriesRequest(), timeout=20))
        connection.blob.Write(iter([blob_pb.WriteRequest(data=b"x")] * 20), timeout=20)
"""


@pytest.fixture
def url() -> Iterator[str]:
    with Wire().running() as wire:
        yield wire.url


def run(program: str, *arguments: str) -> None:
    """In a process of its own: this one has a server in it."""
    text = textwrap.dedent(PROGRAM) + textwrap.dedent(program)
    command = [sys.executable, "-W", "error", "-W", "ignore::DeprecationWarning", "-c", text, *arguments]
    done = subprocess.run(command, timeout=120, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "done" in done.stdout


def test_a_child_opens_channels_of_its_own(url: str) -> None:
    run(
        """
        call()
        for _ in range(10):
            child = multiprocessing.get_context("fork").Process(target=call)
            child.start()
            child.join(60)
            assert child.exitcode == 0, child.exitcode
            call()
        print("done")
        """,
        url,
    )


def test_forks_while_other_threads_have_calls_under_way(url: str) -> None:
    run(
        """
        stop, failures = threading.Event(), []

        def load():
            while not stop.is_set():
                try:
                    call()
                except Exception as error:
                    failures.append(error)
                    return

        threads = [threading.Thread(target=load) for _ in range(4)]
        for thread in threads:
            thread.start()
        for _ in range(20):
            children = [multiprocessing.get_context("fork").Process(target=call) for _ in range(2)]
            for child in children:
                child.start()
            for child in children:
                child.join(60)
                assert child.exitcode == 0, child.exitcode
        stop.set()
        for thread in threads:
            thread.join()
        assert not failures, failures
        print("done")
        """,
        url,
    )


def test_a_child_of_a_process_with_foreign_grpc_is_told_instead_of_hanging(url: str) -> None:
    run(
        """
        import grpc
        from modelkeep.errors import ServiceUnavailable

        foreign = grpc.insecure_channel(sys.argv[1].removeprefix("grpc://"))
        grpc.channel_ready_future(foreign).result(20)
        call()

        def expect_to_be_told():
            try:
                call()
            except ServiceUnavailable as error:
                assert "spawn" in str(error)
                os._exit(7)

        child = multiprocessing.get_context("fork").Process(target=expect_to_be_told)
        child.start()
        child.join(60)
        assert child.exitcode == 7, child.exitcode
        call()
        print("done")
        """,
        url,
    )


def test_what_begins_in_another_thread_meanwhile_keeps_no_fork_from_the_others() -> None:
    """Its children would inherit their connections, and wait for ever for locks that nobody gives back."""
    closed: list[object] = []

    class Member:
        def close_channels(self) -> bool:
            closed.append(self)
            return False

        def forget(self) -> None:
            pass

    class Growing(WeakSet[Forkable]):
        def __iter__(self) -> Iterator[Forkable]:
            for member in super().__iter__():
                yield member
                if len(members) < 3:
                    members.append(Member())
                    self.add(members[-1])

    members = [Member(), Member()]
    gate = Gate()
    gate.members = Growing(members)
    gate.before_fork()
    gate.after_fork_in_parent()
    assert len(closed) == len(members) == 3


def test_grandchildren_work_too(url: str) -> None:
    run(
        """
        context = multiprocessing.get_context("fork")

        def child():
            call()
            grandchild = context.Process(target=call)
            grandchild.start()
            grandchild.join(60)
            assert grandchild.exitcode == 0

        call()
        process = context.Process(target=child)
        process.start()
        process.join(60)
        assert process.exitcode == 0
        print("done")
        """,
        url,
    )


def test_ids_of_runs_differ_after_a_fork_and_with_the_same_seed() -> None:
    """M-UP-2: ids come from the operating system, never from `random`."""
    from modelkeep._init import memorable_name

    reader, writer = os.pipe()
    random.seed(0)
    pid = os.fork()
    name = memorable_name("train")
    if pid == 0:
        os.write(writer, name.encode())
        os._exit(0)
    os.waitpid(pid, 0)
    assert os.read(reader, 100).decode() != name
    os.close(reader)
    os.close(writer)
    random.seed(0)
    assert len({memorable_name() for _ in range(20)}) > 15


def test_a_child_may_use_the_stat_cache_whatever_its_parent_does_with_it() -> None:
    """While files are looked up and remembered: a child that inherits a lock inside of SQLite would wait for it forever."""
    run(
        """
        import tempfile
        from modelkeep._stat_cache import StatCache

        folder = tempfile.mkdtemp()
        stop = threading.Event()

        def use(cache, number):
            cache.find([os.stat(folder)])
            cache.add((1, number, 1, 1, 1), bytes(32), b"")
            cache.pack(bytes(8))
            cache.close()

        def keep_using():
            number = 0
            while not stop.is_set():
                use(StatCache(folder + "/stat.sqlite", b"rules"), number := number + 1)

        threads = [threading.Thread(target=keep_using) for _ in range(2)]
        for thread in threads:
            thread.start()
        for number in range(60):
            child = multiprocessing.get_context("fork").Process(
                target=lambda: use(StatCache(folder + "/stat.sqlite", b"rules"), 1 << 40)
            )
            child.start()
            child.join(30)
            if child.exitcode != 0:
                child.kill()
                print("child", number, "hangs or failed", child.exitcode, file=sys.stderr)
                os._exit(1)
        stop.set()
        for thread in threads:
            thread.join(30)
        print("done")
        """,
        "grpc://127.0.0.1:1",
    )
