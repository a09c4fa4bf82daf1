"""Config and summary of a run as dicts: read while others write, copied, and sent to another process."""

from __future__ import annotations

import copy
import json
import pickle
import threading
from typing import Any

import modelkeep
import pytest


def test_copies_of_a_config_are_dicts_that_tell_nobody(run: modelkeep.Run) -> None:
    run.config.update({"lr": 1, "model": {"depth": [2], "width": {"of": 3}}})
    wanted = {"lr": 1, "model": {"depth": [2], "width": {"of": 3}}}
    for copied in (
        copy.deepcopy(run.config),
        pickle.loads(pickle.dumps(run.config)),
        run.config.as_dict(),
        copy.copy(run.config),
    ):
        assert json.loads(json.dumps(copied)) == wanted
        copied["model"]["width"]["of"] = 4
    assert run.config == wanted
    assert pickle.loads(pickle.dumps(run.config["model"])) == wanted["model"]


def test_a_summary_is_read_while_a_thread_logs(run: modelkeep.Run) -> None:
    def log() -> None:
        for number in range(3000):
            run.log({f"metric-{number}": number})

    thread = threading.Thread(target=log)
    thread.start()
    while thread.is_alive():
        assert len(list(run.summary.items())) <= len(run.summary.as_dict()) <= len(run.summary)
        assert repr(run.summary).startswith("{")
    assert len(run.summary) == 3000


@pytest.mark.parametrize("send", [pickle.dumps, copy.copy, copy.deepcopy])
def test_a_run_that_is_sent_to_another_process_says_what_to_send(run: modelkeep.Run, send: Any) -> None:
    with pytest.raises(modelkeep.InvalidArgument, match=rf"modelkeep.init\(id='{run.id}', resume='allow'\)"):
        send(run)
