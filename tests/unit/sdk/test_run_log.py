"""What a run tells while it lives: told by a thread, in order, once, and never at the cost of the loop that logs."""

from __future__ import annotations

import gc
import math
import subprocess
import sys
import textwrap
import threading
from typing import Any

import modelkeep
import pytest
from modelkeep._points import MAX_STEP
from modelkeep._summary import parse_rule
from modelkeep.errors import LimitExceeded, RunNotRunning, ServiceUnavailable

from tests.servers import wait_until
from tests.unit.sdk.lineage import Lineage
from tests.unit.sdk.wire import Wire


def test_points_arrive_in_their_order(run: modelkeep.Run, lineage: Lineage) -> None:
    run.log({"loss": 0.5, "eval": {"acc": 1}})
    run.log({"loss": math.nan})
    run.log({"loss": math.inf}, step=10)
    run.log({"loss": -math.inf})
    run.log({"loss": 0.25}, step=3)  # steps that go back are kept
    run.log({})
    run.log({"loss": 0.125})
    run.flush()
    assert str(lineage.points) == str(
        [
            ("loss", 0, 0.5),
            ("loss", 1, math.nan),
            ("loss", 10, math.inf),
            ("loss", 11, -math.inf),
            ("loss", 3, 0.25),
            ("loss", 5, 0.125),
            ("eval.acc", 0, 1.0),
        ]
    )
    assert run.step == 6


def test_a_call_that_is_refused_keeps_nothing(run: modelkeep.Run, lineage: Lineage) -> None:
    with pytest.raises(modelkeep.InvalidArgument, match="'acc'"):
        run.log({"loss": 0.5, "acc": "high"})
    with pytest.raises(modelkeep.InvalidArgument, match="step"):
        run.log({"loss": 0.5}, step=1.5)  # type: ignore[arg-type]
    run.flush()
    assert (lineage.points, run.step, dict(run.summary)) == ([], 0, {})


def test_behind_the_last_step_there_is_none(run: modelkeep.Run, lineage: Lineage) -> None:
    run.log({"loss": 0.5}, step=MAX_STEP)
    with pytest.raises(modelkeep.InvalidArgument, match="the step has 64 bits"):
        run.log({"loss": 0.25})
    run.log({"loss": 0.125}, step=3)
    run.flush()
    assert (lineage.points, run.step, run.summary["loss"]) == ([("loss", MAX_STEP, 0.5), ("loss", 3, 0.125)], 4, 0.125)


def test_logging_does_nothing_but_put_it_down(run: modelkeep.Run, lineage: Lineage) -> None:
    """No file, no socket, no call of gRPC on the thread that logs: what it calls is looked at, and what Python audits."""
    run.log({"loss": 0.5})
    run.flush()
    called: set[str] = set()
    audited: list[str] = []
    me = threading.get_ident()
    watching = True

    def see(frame: Any, event: str, what: Any) -> None:
        module = frame.f_globals.get("__name__", "") if event == "call" else getattr(what, "__module__", None) or ""
        called.add(module)

    def audit(event: str, _: Any) -> None:
        if watching and threading.get_ident() == me and event != "sys.setprofile":
            audited.append(event)

    sys.addaudithook(audit)
    lineage.let_through.clear()  # the server answers nobody
    gc.disable()  # a collection calls whoever asked to be told of it, on this thread
    sys.setprofile(see)
    try:
        for number in range(1000):
            run.log({"loss": 0.5 / (number + 1), "eval": {"acc": number}})
    finally:
        sys.setprofile(None)
        gc.enable()
        watching = False
    ours = {f"modelkeep._{name}" for name in ("run_record", "points", "plain_json", "reporter", "batch", "summary", "run_end")}
    python = {"", "abc", "_abc", "_struct", "_thread", "builtins", "math", "sys", "threading", "time", __name__}
    python |= {"namedtuple_Points", "namedtuple_Packed"}
    assert called <= ours | python
    assert audited == []
    assert lineage.points == [("loss", 0, 0.5)], "nothing was waited for"


def test_what_is_logged_goes_in_batches_that_the_server_takes(run: modelkeep.Run, lineage: Lineage) -> None:
    for number in range(250):
        run.log({"a": number, "b": number})
    run.log({f"k{number}": number for number in range(250)})  # more in one call than in one batch
    run.flush()
    assert len(lineage.points) == 750
    assert max(sum(len(series.steps) for series in request.series) for request in lineage.requests) <= lineage.max_points
    assert len(lineage.requests) <= 12


def test_it_is_sent_within_a_second_without_a_flush(run: modelkeep.Run, lineage: Lineage) -> None:
    run.log({"loss": 0.5})
    wait_until(lambda: lineage.points == [("loss", 0, 0.5)], "the thread that sends")


def test_many_threads_log(run: modelkeep.Run, lineage: Lineage) -> None:
    def work() -> None:
        for _ in range(200):
            run.log({"x": 1})

    threads = [threading.Thread(target=work) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    run.flush()
    assert sorted(step for _, step, _ in lineage.points) == list(range(1600)), "each call has a step of its own"
    assert [step for _, step, _ in lineage.points] == sorted(step for _, step, _ in lineage.points)


def test_while_the_server_is_away_it_waits_and_is_sent_once(
    run: modelkeep.Run, lineage: Lineage, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """SEM-14: it is tried again under the same request id."""
    with monkeypatch.context() as patch:  # not for the end of the run, which may take longer
        patch.setattr("modelkeep._ledger.CALL_SECONDS", 0.2)
        patch.setattr("modelkeep._reporter.AGAIN_SECONDS", 0.05)
        lineage.fail_next("LogMetrics", *[ServiceUnavailable("away") for _ in range(5)])
        run.log({"loss": 0.5})
        run.log({"loss": 0.25})
        run.flush()
    assert lineage.points == [("loss", 0, 0.5), ("loss", 1, 0.25)]
    ids = {request.request_id for method, request, _ in lineage.calls.seen if method == "LogMetrics"}
    assert len(ids) == 1
    assert sum("waits in memory" in record.message for record in caplog.records) <= 1


def test_when_too_much_waits_a_log_waits_too_and_raises_in_the_end(
    run: modelkeep.Run, lineage: Lineage, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("modelkeep._reporter.MAX_WAITING", 10)
    monkeypatch.setattr("modelkeep._reporter.PATIENCE_SECONDS", 0.1)
    lineage.let_through.clear()
    for number in range(10):
        run.log({"x": number})
    with pytest.raises(modelkeep.ServiceUnavailable, match="10 points wait to be sent"):
        run.log({"x": 10})
    monkeypatch.setattr("modelkeep._reporter.PATIENCE_SECONDS", 60)
    threading.Timer(0.05, lineage.let_through.set).start()
    run.log({"x": 11})
    run.flush()
    assert [value for _, _, value in lineage.points] == [*range(10), 11.0], "what was refused was told, the rest is there"


def test_what_a_server_refuses_is_raised_by_the_next_call_once(run: modelkeep.Run, lineage: Lineage) -> None:
    lineage.fail_next("LogMetrics", LimitExceeded("too many metrics"))
    run.log({"a": 1})
    with pytest.raises(modelkeep.LimitExceeded, match="too many metrics"):
        run.flush()
    run.log({"b": 1})
    run.flush()
    assert lineage.points == [("b", 1, 1.0)]


def test_a_run_that_was_ended_elsewhere_says_so(lineage: Lineage) -> None:
    run = modelkeep.init("vision")
    lineage.fail_next("LogMetrics", RunNotRunning("it is finished: resume it first"))
    run.log({"a": 1})
    with pytest.raises(modelkeep.RunNotRunning, match="resume it"):
        run.finish()
    assert lineage.calls.count("FinishRun") == 1, "it ends all the same"


def test_a_finished_run_takes_nothing_and_says_what_to_do(run: modelkeep.Run, lineage: Lineage) -> None:
    run.log({"a": 1})
    run.finish()
    assert lineage.points == [("a", 0, 1.0)]
    for late in (
        lambda: run.log({"a": 2}),
        lambda: run.summary.update(a=1),
        lambda: run.config.update(a=1),
        lambda: run.add_tags("x"),
        lambda: run.define_metric("a"),
        lambda: setattr(run, "notes", "x"),
    ):
        with pytest.raises(modelkeep.InvalidArgument, match=r"is finished; .* resume='allow'"):
            late()
    run.finish()
    assert lineage.calls.count("FinishRun") == 1


def test_a_goal_has_two_words_that_mean_the_same() -> None:
    for word, other in (("max", "maximize"), ("min", "minimize")):
        assert parse_rule("best", word) == parse_rule("best", other) == parse_rule(word, None)
    with pytest.raises(modelkeep.InvalidArgument, match="'max' or 'min'"):
        parse_rule("best", "largest")


def test_the_summary_is_that_of_the_metrics_and_what_was_set(run: modelkeep.Run, lineage: Lineage) -> None:
    run.define_metric("acc", summary="best", goal="maximize")
    run.define_metric("loss", summary="min")
    run.define_metric("noise", summary="none")
    for acc, loss in ((0.5, 3.0), (0.9, math.nan), (0.7, 2.0)):
        run.log({"acc": acc, "loss": loss, "noise": 1, "last": acc})
    run.summary["note"] = "good"
    run.summary["nested"] = {"a": 1}
    run.summary["nested"]["b"] = math.inf
    run.summary["gone"] = 1
    del run.summary["gone"]
    assert run.summary == {"acc": 0.9, "loss": 2.0, "last": 0.7, "note": "good", "nested": {"a": 1, "b": math.inf}}
    run.flush()
    points, summary = lineage.requests
    assert {(one.key, one.summary) for one in points.definitions} == {("acc", 3), ("loss", 2), ("noise", 4)}
    assert summary.summary_json == '{"note":"good","nested":{"a":1,"b":"Infinity"},"gone":null}'


def test_of_a_value_that_was_set_and_a_metric_the_later_counts(run: modelkeep.Run, lineage: Lineage) -> None:
    run.summary["acc"] = 0.1
    run.log({"acc": 0.5})
    run.define_metric("hidden", summary="none")
    run.summary["hidden"] = 1
    run.log({"hidden": 2})
    run.log({"set": 1})
    run.summary["set"] = 2
    run.flush()
    assert lineage.requests[-1].summary_json == '{"hidden":1,"set":2}'
    assert run.summary == {"acc": 0.5, "hidden": 1, "set": 2}


def test_a_metric_that_is_declared_late_is_summed_up_from_all_of_it(run: modelkeep.Run) -> None:
    for value in (2.0, 3.0, 1.0):
        run.log({"x": value, "y": value})
    run.define_metric("x", summary="max")
    run.define_metric("y", summary="none")
    assert run.summary == {"x": 3.0}


@pytest.mark.parametrize(
    ("summary", "goal", "says"),
    [("best", None, "say goal="), ("mean", None, "'mean' is no summary"), ("max", "up", "'up' is no goal")],
)
def test_a_summary_that_there_is_not(run: modelkeep.Run, summary: Any, goal: Any, says: str) -> None:
    with pytest.raises(modelkeep.InvalidArgument, match=says):
        run.define_metric("acc", summary=summary, goal=goal)


def test_config_and_words_change_while_it_runs(run: modelkeep.Run, lineage: Lineage) -> None:
    run.config["lr"] = 0.1
    run.config.update({"model": {"dim": 3}, "hf_token": "hunter2canary", "gone": 1})
    run.config["model"]["depth"] = 2
    del run.config["gone"]
    run.name, run.notes, run.group = "new-name", "# Notes", "sweep-1"
    run.add_tags("b", "a")
    run.remove_tags("b")
    run.flush()
    told = lineage.runs[run.resource_name]
    assert told.config_json == '{"lr":0.1,"model":{"dim":3,"depth":2},"hf_token":"***"}'
    assert (told.display_name, told.notes, told.group, list(told.tags)) == ("new-name", "# Notes", "sweep-1", ["a"])
    assert (run.name, run.notes, run.group, run.tags) == ("new-name", "# Notes", "sweep-1", ("a",))
    assert run.config["hf_token"] == "hunter2canary", "the script has what it gave"
    with pytest.raises(modelkeep.InvalidTag):
        run.add_tags("no/slash")


def test_it_says_that_it_lives_as_often_as_it_is_asked_to(lineage: Lineage, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("modelkeep._reporter.FIRST_BEAT_SECONDS", 0.01)
    lineage.beat_seconds = 0.01  # the client makes it a second
    with modelkeep.init("vision"):
        wait_until(lambda: lineage.calls.count("Heartbeat") >= 2, "two heartbeats")


FORKS = """
    import multiprocessing, os, modelkeep
    run = modelkeep.init("vision", id="r1")
    run.log({"parent": 1})
    process = multiprocessing.get_context("fork").Process(target=run.log, args=({"child": 1}, 7))
    process.start()
    process.join(60)
    assert process.exitcode == 0
    pid = os.fork()
    if pid == 0:
        run.log({"other": 1}, step=8)
        run.finish()
        os._exit(0)
    os.waitpid(pid, 0)
    run.log({"parent": 2})
    run.flush()
    print("alive")
    run.finish()
"""


def test_a_forked_child_sends_what_it_logs_and_nothing_of_its_parent(lineage: Lineage) -> None:
    """M-UP-2: not the points of the parent; and the run goes on when the child finishes, or ends."""
    program = textwrap.dedent(FORKS)
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False, timeout=200)
    assert (done.returncode, done.stdout) == (0, "alive\n"), done.stderr
    assert sorted(lineage.points) == [("child", 7, 1.0), ("other", 8, 1.0), ("parent", 0, 1.0), ("parent", 1, 2.0)]
    assert lineage.calls.count("FinishRun") == 1


SCRIPT = """
    import sys, modelkeep
    run = modelkeep.init("vision", id="r1")
    run.log({"loss": 0.5})
"""


@pytest.mark.parametrize(
    ("end", "state", "code"),
    [
        ("", 2, 0),
        ("raise ValueError('bad')", 3, 1),
        ("sys.excepthook = lambda *_: None; raise KeyError", 3, 1),
        ("sys.excepthook = lambda *_: None", 2, 0),
        ("run.finish('failed')", 3, 0),
        ("with run: raise SystemExit(3)", 3, 3),
    ],
    ids=["forgot", "uncaught", "uncaught with another hook", "another hook", "failed", "exits"],
)
def test_the_end_of_a_script_is_the_end_of_its_run(lineage: Lineage, end: str, state: int, code: int) -> None:
    program = textwrap.dedent(SCRIPT) + end
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False, timeout=100)
    assert done.returncode == code, done.stderr
    (run,) = lineage.runs.values()
    assert (run.state, lineage.points) == (state, [("loss", 0, 0.5)])
    assert ("ValueError: bad" in done.stderr) == ("ValueError" in end)


def test_a_server_that_keeps_no_runs_is_told_of_once(wire: Wire, lineage: Lineage, caplog: pytest.LogCaptureFixture) -> None:
    lineage.fail_next("CreateRun", modelkeep.Unimplemented("not here"))
    with modelkeep.init("vision", config={"lr": 1}) as run:
        run.log({"loss": 0.5})
        run.summary["x"] = 1
        run.config["y"] = 1
        run.notes = "n"
        run.add_tags("t")
        made = modelkeep.Artifact("digits", "model")
        with made.new_file("x") as file:
            file.write("x")
        assert run.log_artifact(made).name.startswith("digits:")
    assert [record.message for record in caplog.records if "keeps no runs" in record.message] != []
    assert len(caplog.records) == 1
    assert (run.summary, run.tags) == ({"loss": 0.5, "x": 1}, ("t",))


@pytest.mark.parametrize("size", [5 << 20, 2 << 20], ids=["more than a message", "more than a run keeps"])
def test_a_value_that_is_too_large_is_refused_where_it_is_set(run: modelkeep.Run, lineage: Lineage, size: int) -> None:
    run.summary["note"] = "small"
    for tree in (run.summary, run.config):
        with pytest.raises(modelkeep.LimitExceeded, match=r"log what is large as an artifact"):
            tree["note"] = "x" * size
    assert (run.summary, run.config) == ({"note": "small"}, {}), "what was refused is not there"
    run.log({"a": 1})
    run.flush()
    assert lineage.points == [("a", 0, 1.0)]
    assert [request.summary_json for request in lineage.requests if request.summary_json] == ['{"note":"small"}']


def test_a_value_may_be_as_large_as_the_server_says(run: modelkeep.Run, lineage: Lineage) -> None:
    run.summary["note"] = "x" * ((1 << 20) - len('{"note":""}'))
    with pytest.raises(modelkeep.LimitExceeded, match="1,048,577 bytes"):
        run.summary["note"] = "x" * ((1 << 20) - len('{"note":""}') + 1)
    run.flush()
    assert len(lineage.requests[-1].summary_json) == 1 << 20
