"""R6: alias moves and version numbers behave as if they happened one after the other, also when the server is killed (I5, I6).

Each client records when an operation began, when it ended and what it was told. The checker knows the register model: the
history of the alias, ordered by `seq`, must be a chain; every move that succeeded stands in it exactly once, within its
time; one whose answer was lost stands in it at most once.

In another collection a rule keeps an alias, and versions are logged, some only if they are better. There the model is: versions
come in the order of their numbers; the alias stood on each that was better than all before it, and nowhere else; what a commit
was compared with was the best one at some moment while it ran.
"""

from __future__ import annotations

import random
import tempfile
import threading
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from time import monotonic, sleep
from uuid import uuid4

import modelkeep
import pytest

from tests.faults.supervisor import Supervised


@dataclass
class Move:
    """One operation of one client: the reason text identifies it in the history."""

    id: str
    expected: str
    target: str
    began: float
    ended: float
    outcome: str
    """`ok`, `stale` or `unknown`."""


@dataclass
class Logged:
    """A version that a client logged, or would have if it were better."""

    acc: float
    is_conditional: bool
    began: float
    ended: float = 0.0
    version: modelkeep.Version | None = None
    """None when the answer was lost."""


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Supervised]:
    supervised = Supervised(tmp_path)
    supervised.start()
    yield supervised
    supervised.kill()


def _api(server: Supervised) -> modelkeep.Api:
    found = server.found
    return modelkeep.Api(url=f"grpc://127.0.0.1:{server.port}", api_key=found["api_key"], project="faults")


def _versions(server: Supervised, count: int) -> None:
    for number in range(count):
        with tempfile.TemporaryDirectory() as folder:
            (Path(folder) / "f").write_text(str(number))
            artifact = modelkeep.Artifact("reg", type="model")
            artifact.add_dir(folder)
            found = server.found
            with modelkeep.init(project="faults", url=found["url"], api_key=found["api_key"]) as run:
                run.log_artifact(artifact, aliases=["x"] if number == 0 else [])


def _client(server: Supervised, seed: int, operations: int, log: list[Move]) -> None:
    dice = random.Random(seed)
    for _ in range(operations):
        move = Move(uuid4().hex, "", f"v{dice.randrange(8)}", monotonic(), 0.0, "unknown")
        try:
            api = _api(server)
            move.expected = api.artifact("reg:x").version
            move.began = monotonic()
            api.promote(f"reg:{move.target}", "x", expect=move.expected, reason=move.id)
            move.outcome = "ok"
        except modelkeep.AliasChanged:
            move.outcome = "stale"
        except (modelkeep.ModelkeepError, OSError, ValueError):
            move.outcome = "unknown"
        move.ended = monotonic()
        log.append(move)


def _log(server: Supervised, content: str, acc: float, only_if_better: tuple[str, str] | None = None) -> modelkeep.Version:
    with tempfile.TemporaryDirectory() as folder:
        (Path(folder) / "f").write_text(content)
        artifact = modelkeep.Artifact("ruled", type="model", metadata={"acc": acc})
        artifact.add_dir(folder)
        return _api(server).log_artifact(artifact, only_if_better=only_if_better)


def _best_client(server: Supervised, seed: int, operations: int, log: list[Logged]) -> None:
    dice = random.Random(seed)
    for number in range(operations):
        one = Logged(dice.random(), dice.random() < 0.5, monotonic())
        with suppress(modelkeep.ModelkeepError, OSError, ValueError):
            one.version = _log(server, f"{seed} {number}", one.acc, ("acc", "max") if one.is_conditional else None)
        one.ended = monotonic()
        log.append(one)


def check_best(server: Supervised, log: list[Logged]) -> int:
    """Raise when rule and comparisons cannot be explained; answers how many versions there are."""
    versions = sorted(_api(server).versions("ruled"), key=lambda version: int(version.version[1:]))
    names, values = [version.version for version in versions], [version.metadata["acc"] for version in versions]
    assert names == [f"v{number}" for number in range(len(versions))], "a number was used twice, or left out"
    assert len(set(values)) == len(values), "a version was logged twice"
    best = [n for n, value in enumerate(values) if value > max(values[:n], default=-1)]
    history = sorted(_api(server).history("ruled", "best"), key=lambda change: change.seq)
    assert [change.to_version for change in history] == [names[n] for n in best], "the alias was not kept on the best one"
    ops = {one.acc: one for one in log}
    for one in (one for one in log if one.version is not None):
        assert one.version is not None
        number = int(one.version.version[1:])
        told = one.version.comparison
        assert (told is not None) == one.is_conditional
        if told is None or told.is_better:
            assert values[number] == one.acc, "an acknowledged version has another number"
        if told is None:
            continue
        if told.is_better:
            assert told.best_value == max(values[:number], default=None), "it was compared with what was not the best"
            assert told.best_value is None or one.acc > told.best_value
            continue
        assert (number in best, told.best_value, one.acc not in values) == (True, values[number], True)
        assert one.acc <= values[number]
        better = [ops[values[n]] for n in best if n > number and values[n] in ops]
        assert all(later.version is None or later.ended > one.began for later in better), (
            "a better one was there before it began"
        )
        assert values[number] not in ops or ops[values[number]].began < one.ended, "it was compared with what was yet to come"
    return len(versions)


def check_history(server: Supervised, moves: list[Move]) -> int:
    """Raise when the history cannot be explained; answers how many moves succeeded."""
    history = sorted(_api(server).history("reg", "x"), key=lambda change: change.seq)
    assert [change.seq for change in history] == list(range(1, len(history) + 1))
    for before, after in pairwise(history):
        assert after.from_version == before.to_version, "the chain is broken"
        assert after.change_time > before.change_time, "time does not rise"
    places = {change.reason: change.seq for change in history}
    assert len([change for change in history if change.reason]) == len({c.reason for c in history if c.reason}), "applied twice"
    by_id = {move.id: move for move in moves}
    for move in moves:
        if move.outcome == "ok" and move.expected != move.target:
            assert move.id in places, "an acknowledged move is not in the history"
        if move.outcome == "stale":
            assert move.id not in places, "a refused move was applied"
    applied = [(places[move.id], move) for move in by_id.values() if move.id in places]
    applied.sort(key=lambda pair: pair[0])
    latest_begin = 0.0
    for _, move in applied:
        assert move.ended >= latest_begin, "an operation took effect after one that began only when it had ended"
        latest_begin = max(latest_begin, move.began)
    return len(applied)


def run_clients(server: Supervised, clients: int, operations: int, kills: int) -> None:
    _versions(server, 8)
    _log(server, "first", 0.0)
    _api(server).set_alias_rule("ruled", "best", "argmax(metadata.acc)")
    log: list[Move] = []
    logged: list[Logged] = []
    threads = [threading.Thread(target=_client, args=(server, seed, operations, log)) for seed in range(clients)]
    logging = [(server, seed, operations // 2, logged) for seed in range(clients // 4)]
    threads += [threading.Thread(target=_best_client, args=some) for some in logging]
    for thread in threads:
        thread.start()
    for _ in range(kills):
        sleep(1.5)
        server.kill()
        server.start()
    for thread in threads:
        thread.join()
    assert len(log) == clients * operations
    assert check_history(server, log) > 0
    assert check_best(server, logged) > 0


def test_alias_moves_are_linearizable(server: Supervised) -> None:
    """SEM-16, SEM-17: sixteen clients, compare-and-set on one alias, and the server is killed under them."""
    run_clients(server, 16, 12, kills=1)


@pytest.mark.soak
@pytest.mark.timeout(14_400)
def test_alias_moves_are_linearizable_for_long(server: Supervised) -> None:
    run_clients(server, 16, 6_250, kills=100)
