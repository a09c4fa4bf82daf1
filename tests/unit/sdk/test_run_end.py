"""The end of a run: that it is told once, also when it is interrupted, and that what went wrong before it is said."""

from __future__ import annotations

import os
import subprocess
import sys
import textwrap
import threading
import weakref
from pathlib import Path

import modelkeep
import pytest
from modelkeep._run_end import _Script
from modelkeep.errors import LimitExceeded, RunDeleted, RunNotRunning

from tests.unit.sdk.lineage import Lineage

SCRIPT = """
    import os, signal, threading, modelkeep, modelkeep._run
    go = threading.Event()
    run = modelkeep.init("vision", id="r1", capture="none")
    run.log({"loss": 0.5})
    if HANGS == "upload":
        modelkeep._run.log_artifact = lambda *_: go.wait(60)
        run.log_artifact(__file__, "x", "data", wait=False)
    try:
        threading.Timer(0.3, os.kill, (os.getpid(), signal.SIGINT)).start()
        run.finish()
    except KeyboardInterrupt:
        print("interrupted", flush=True)
        go.set()
"""


@pytest.mark.parametrize("hangs", ["upload", "points"])
@pytest.mark.parametrize("then", ["", "    run.finish()", "    raise"], ids=["ends", "finishes again", "fails"])
def test_an_end_that_is_interrupted_comes_later(lineage: Lineage, hangs: str, then: str) -> None:
    """Ctrl-C while a run ends: a second `finish`, or the end of the script, tells what is left, and ends it."""
    program = textwrap.dedent(SCRIPT).replace("HANGS", repr(hangs)).replace("__file__", repr(__file__)) + then
    if hangs == "points":
        lineage.let_through.clear()
    with subprocess.Popen(
        [sys.executable, "-c", program], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "interrupted\n"
        lineage.let_through.set()
        _, said = process.communicate(timeout=60)
    (run,) = lineage.runs.values()
    assert (run.state, lineage.points) == (3 if then.endswith("raise") else 2, [("loss", 0, 0.5)]), said
    assert lineage.calls.count("FinishRun") == 1


HANDLED = """
    import random, signal, modelkeep

    def end(*_):
        run.log({"last": 1.0})
        run.finish("failed")
        raise SystemExit

    signal.signal(signal.SIGALRM, end)
    for number in range(40):
        run = modelkeep.init("vision", id=f"r{number}", capture="none")
        try:
            signal.setitimer(signal.ITIMER_REAL, random.uniform(0.001, 0.005))
            while True:
                run.log({"loss": 0.5})
                run.summary["note"] = "x"
        except SystemExit:
            print("ended", flush=True)
"""


def test_a_signal_handler_may_end_a_run_in_the_middle_of_a_log(lineage: Lineage) -> None:
    """As SLURM's SIGTERM has it done; the numbers are drawn, so that over time it is tried everywhere."""
    lineage.max_points = 100_000
    program = textwrap.dedent(HANDLED)
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=100, check=False)
    assert done.stdout.count("ended") == 40, done.stderr
    assert {run.state for run in lineage.runs.values()} == {3}
    assert len([key for key, _, _ in lineage.points if key == "last"]) == 40


def test_what_was_lost_is_said_before_an_end_that_was_not_kept(lineage: Lineage) -> None:
    run = modelkeep.init("vision", capture="none")
    lineage.fail_next("LogMetrics", LimitExceeded("too many metrics"))
    lineage.fail_next("FinishRun", RunDeleted("it was deleted"))
    run.log({"a": 1})
    with pytest.raises(LimitExceeded, match="too many metrics") as failed:
        run.finish()
    (note,) = failed.value.__notes__
    assert "it was deleted" in note


def test_threads_that_finish_at_once_end_it_once(lineage: Lineage) -> None:
    run = modelkeep.init("vision", capture="none")
    run.log({"a": 1})
    threads = [threading.Thread(target=run.finish) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert lineage.calls.count("FinishRun") == 1
    assert lineage.points == [("a", 0, 1.0)]


def test_an_end_offline_that_is_told_again_closes_nothing_of_others(tmp_path: Path) -> None:
    """The file that says that the run lives is closed; its number may be that of any other file from then on."""
    run = modelkeep.init("vision", mode="offline", dir=tmp_path, capture="none")
    run.finish()
    others = [os.open(os.devnull, os.O_RDONLY) for _ in range(9)]
    run.finish()
    for other in others:
        os.close(other)


@pytest.mark.parametrize(("ended", "state"), [("failed", 3), ("finished", 2)])
def test_a_shared_run_of_which_one_failed_has_failed(lineage: Lineage, ended: str, state: int) -> None:
    """The last to end it had made it go on, after another process ended it."""
    run = modelkeep.init("vision", id="r1", resume="allow", capture="none")
    lineage.fail_next("LogMetrics", RunNotRunning("it ended: resume it first", state=ended))
    run.log({"a": 1})
    run.finish()
    assert lineage.points == [("a", 0, 1.0)]
    assert (lineage.calls.count("ResumeRun"), lineage.runs[run.resource_name].state) == (1, state)


def test_code_that_takes_too_long_is_said(
    lineage: Lineage, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    go = threading.Event()
    monkeypatch.setattr("modelkeep._run.CODE_SECONDS", 0.01)
    monkeypatch.setattr("modelkeep._code.find_out", lambda *_: go.wait(60))
    run = modelkeep.init("vision")
    run.finish()
    assert "the code of the run" in caplog.text
    go.set()
    assert run._keeping is not None
    run._keeping.join()  # it has a word to say, which would be another test's
    assert lineage.calls.count("FinishRun") == 1


def test_an_error_before_the_first_run_is_not_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    """In a notebook: an exception holds its frames, and these what fills the memory of a GPU."""
    monkeypatch.setattr(sys, "excepthook", sys.excepthook)
    sys.last_value = modelkeep.InvalidArgument("in a cell before")
    kept = weakref.ref(sys.last_value)
    script = _Script()
    script.watch()
    monkeypatch.setattr(sys, "excepthook", lambda *_: None)
    assert not script.has_ended_badly()
    del sys.last_value
    assert kept() is None
