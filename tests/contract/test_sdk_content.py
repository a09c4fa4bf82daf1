"""How long content lives: it belongs to nobody, and stays as long as something reaches it."""

from __future__ import annotations

from pathlib import Path

import modelkeep
import pytest

from tests.contract.sdk import artifact, read, some


@pytest.fixture(autouse=True)
def _client(client_env: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in client_env if name.startswith("MODELKEEP_")]:
        monkeypatch.setenv(name, client_env[name])
    monkeypatch.setenv("MODELKEEP_CACHE_BYTES", "0")  # what is read here comes from the server


def test_content_lives_as_long_as_a_version_reaches_it_whoever_logged_it(tmp_path: Path) -> None:
    """SEM-23: whoever brought it may go; a deleted version, which may be restored, reaches it too."""
    api, content = modelkeep.Api(), {"model.bin": some(3 << 20), "note": some()}
    first = api.log_artifact(artifact(tmp_path / "first", content))
    second = api.log_artifact(artifact(tmp_path / "second", content, name="letters"))
    assert (first.sent_bytes > 0, second.sent_bytes) == (True, 0)
    first.delete()
    assert read(second.download(tmp_path / "out-second")) == content
    second.delete()
    assert read(api.restore(first.name).download(tmp_path / "out-first")) == content
    assert api.log_artifact(artifact(tmp_path / "third", content, name="third")).sent_bytes == 0
