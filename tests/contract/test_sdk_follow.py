"""Following an alias, against the whole product: what a serving node sees while people log and promote."""

from __future__ import annotations

import json
import os
import threading
from collections.abc import Iterator
from pathlib import Path
from urllib.request import urlopen

import modelkeep
import pytest
from modelkeep import errors

from tests.contract.sdk import Content, artifact, read, some
from tests.servers import wait_until
from tests.suites import Suite

SECONDS = 120


@pytest.fixture
def api(suite: Suite, project: str, monkeypatch: pytest.MonkeyPatch) -> modelkeep.Api:
    """A client, and the environment in which `follow` finds the server too."""
    for name, value in suite.client(project).items():
        if name.startswith("MODELKEEP_"):
            monkeypatch.setenv(name, value)
    return modelkeep.Api()


def log(api: modelkeep.Api, tmp_path: Path, content: Content | None = None, *aliases: str) -> modelkeep.Version:
    folder = tmp_path / "source" / os.urandom(4).hex()
    return api.log_artifact(artifact(folder, content or {"weights": some(), "tok/vocab": some()}), aliases=aliases)


def follow(root: Path, address: str = "digits:production", **wishes: object) -> modelkeep.Follower:
    return modelkeep.follow(address, root=root, **({"spread_seconds": 0, "timeout_seconds": SECONDS} | wishes))  # type: ignore[arg-type]


def versions_in(root: Path) -> set[str]:
    return {path.name.partition("-")[0] for path in (root / "versions").iterdir() if path.is_dir()}


def test_what_the_alias_points_to_is_there_and_follows_it(api: modelkeep.Api, tmp_path: Path) -> None:
    contents = [{"weights": some(300_000), "tok/vocab": some()} for _ in range(3)]
    log(api, tmp_path, contents[0], "production")
    changes = []
    with follow(tmp_path / "root", on_change=lambda current: changes.append(current.version)) as current:
        assert (current.version, current.name, read(current.path)) == ("v0", "digits:v0", contents[0])
        assert read(current.link) == contents[0]
        for number in (1, 2):
            before, since = current.path, current.since
            version = log(api, tmp_path, contents[number], "production")
            assert current.wait(SECONDS)
            assert (current.version, current.digest) == (version.version, version.digest)
            assert read(current.path) == read(current.link) == contents[number]
            assert read(before) == contents[number - 1], "whoever still reads the version before can go on"
            assert current.since > since
        wait_until(lambda: versions_in(tmp_path / "root") == {"v1", "v2"}, "the removal of the oldest version", SECONDS)
        status = current.status()
        assert (status["ready"], status["behind"], status["stale"], status["errors"]) == (True, False, False, {})
        assert status["seen"] == {"seq": 3, "digest": current.digest, "version": "v2"}
        assert status["loaded"]["name"] == "digits:v2"
    assert changes == ["v0", "v1", "v2"]
    assert read(tmp_path / "root" / "current") == contents[2], "what is loaded stays when nobody follows any more"
