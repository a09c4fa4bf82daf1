"""What a following node does at a switch."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import cast
from unittest.mock import Mock

import pytest
from modelkeep import Follower
from modelkeep.cli.call import Call
from modelkeep.cli.node import Shown


def test_the_command_runs_though_nobody_reads_what_is_said(tmp_path: Path) -> None:
    told = tmp_path / "told"
    call = Mock(spec=Call, out=Mock(answer=Mock(side_effect=BrokenPipeError)))
    write = "import os, sys; open(sys.argv[1], 'w').write(os.environ['MODELKEEP_VERSION'])"
    shown = Shown(cast("Call", call), [sys.executable, "-c", write, str(told)])
    about = ("path", "version", "name", "digest", "alias", "seq")
    follower = Mock(spec=Follower, link=tmp_path / "current")
    follower.status.return_value = {"ready": True, "loaded": {name: f"the {name}" for name in about}}
    with pytest.raises(BrokenPipeError):
        shown.changed(follower)
    assert told.read_text() == "the version"
    assert json.dumps(shown._runner.last) == '{"version": "the version", "exit_code": 0}'
