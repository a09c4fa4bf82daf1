"""A download that is killed, whenever, leaves nothing that the next one does not put right."""

from __future__ import annotations

import multiprocessing
import os
import signal
import subprocess
import sys
from pathlib import Path
from uuid import uuid4

import modelkeep
import pytest

from tests.faults import downloader
from tests.suites import Suite

pytestmark = pytest.mark.one_topology

FETCH = """
import sys, modelkeep
version = modelkeep.Api(sys.argv[1], sys.argv[2]).artifact(sys.argv[3])
for _ in range(5):
    getattr(version, sys.argv[5])(sys.argv[4])
"""


@pytest.fixture(autouse=True)
def empty_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MODELKEEP_CACHE_DIR", str(tmp_path / "cache"))


@pytest.fixture
def version(suite: Suite, tmp_path: Path) -> modelkeep.Version:
    """Small files in folders, and a large one of many chunks."""
    made, source = modelkeep.Artifact("digits", "model"), tmp_path / "source"
    for path, size in {"small": 10, "a/empty": 0, "a/b/small": 2000, "a/b/large": 9_000_000}.items():
        (source / path).parent.mkdir(parents=True, exist_ok=True)
        (source / path).write_bytes(os.urandom(size))
    made.add_dir(source)
    return modelkeep.Api(suite.url, suite.api_key, project=f"t-{uuid4().hex[:12]}").log_artifact(made)


@pytest.mark.parametrize("link", [False, True])
def test_no_moment_is_a_bad_one_to_be_killed_in(suite: Suite, tmp_path: Path, version: modelkeep.Version, link: bool) -> None:
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["tests.faults.downloader"])
    if link:
        version.download(tmp_path / "first")  # so that there is something to link to
    kill_at, temporary = 0, 0
    while True:
        kill_at += 1
        root = tmp_path / f"out-{kill_at}"
        arguments = ((suite.url, suite.api_key), f"{version.project}/{version.name}", str(root), link, kill_at)
        process = context.Process(target=downloader.run, args=arguments)
        process.start()
        process.join()
        assert process.exitcode in {0, -signal.SIGKILL}, "it failed"
        if process.exitcode == 0:
            break
        temporary += len(list(root.rglob(".modelkeep-*")))
        version.download(root)
        version.verify(root)
    version.verify(root)
    assert kill_at == 1 + 1 + 4 * 3 + 1, "the notes, what asks the folder about names, the files, and the end"
    assert ((root / "a/b/large").stat().st_nlink > 1) == link
    assert temporary > kill_at, "the killed left something"


@pytest.mark.parametrize("how", ["download", "checkout"])
def test_many_at_once_into_one_folder_do_not_disturb_each_other(
    suite: Suite, tmp_path: Path, version: modelkeep.Version, how: str
) -> None:
    command = [
        sys.executable,
        "-c",
        FETCH,
        suite.url,
        suite.api_key,
        f"{version.project}/{version.name}",
        str(tmp_path / "out"),
        how,
    ]
    processes = [
        subprocess.Popen(command, env={**os.environ, "MODELKEEP_CACHE_DIR": str(tmp_path / f"cache-{number}")})
        for number in range(4)
    ]
    assert [process.wait(120) for process in processes] == [0] * 4
    version.verify(tmp_path / "out")
