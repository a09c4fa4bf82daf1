"""The story of the README, run as it is, and read with a critical eye."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

STORY = Path(__file__).parents[2] / "clients" / "python" / "examples" / "story.py"


def test_the_story_goes_as_it_is_told(tmp_path: Path) -> None:
    done = subprocess.run([sys.executable, str(STORY)], cwd=tmp_path, capture_output=True, text=True, check=False, timeout=280)
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stderr == ""
    lines = [line.strip() for line in done.stdout.splitlines() if line.strip()]
    logged = [re.search(r"(\w+:v\d): ([\d.]+) MiB, ([\d.]+) MiB of it sent", line) for line in lines]
    versions = {found[1]: (float(found[2]), float(found[3])) for found in logged if found}
    assert list(versions)[:3] == ["encoder:v0", "encoder:v1", "encoder:v2"]
    size, first = versions["encoder:v0"]
    assert first == size
    for name in ("encoder:v1", "encoder:v2"):
        assert versions[name][1] < 0.1 * size, "one block of 15, and the head"
    (size, rest), *others = [sizes for name, sizes in versions.items() if name.startswith("checkpoint:")]
    assert others == []
    assert any(re.search(r"killed, when [1-9][\d.]+ MiB had arrived", line) for line in lines)
    assert 0 < rest < size, "what had arrived is not sent again"
    served = [found[1] for line in lines if (found := re.search(r"\[node\] serves (\S+) from .story/models/current", line))]
    assert served == ["encoder:v1", "encoder:v2", "encoder:v1"]
    assert lines[-2].startswith("4. The server is stopped, and the node goes on")
