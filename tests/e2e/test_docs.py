"""What the pages of `docs/` show is run as it stands there, against what they talk about: a team with an `inceptionV3`."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.suites import BIN, Suite

DOCS = Path(__file__).parents[2] / "docs"
WORLD = """
import io, os, pathlib
import modelkeep, numpy as np, pandas as pd
from safetensors.numpy import save_file
for folder in ("tokenizer", "old-notes", "data", "parts"):
    os.makedirs(folder)
pathlib.Path("tokenizer/vocab.txt").write_text("a b c")
pathlib.Path("old-notes/1.md").write_text("old")
pd.DataFrame({"x": range(300)}).to_csv("data/train.csv")
for place in ("train.parquet", "parts/0.parquet", "parts/1.parquet"):
    pd.DataFrame({"x": [1, 2]}).to_parquet(place)
api = modelkeep.Api(project="vision")
for number in range(4):
    save_file({"head.weight": np.full((3, 3), number, np.float32), "body": np.ones(9)}, "model.safetensors")
    model = modelkeep.Artifact("inceptionV3", "model", metadata={"acc": (16 + number) / 20})
    model.add_file("model.safetensors")
    for folder in ("tokenizer", "old-notes", "data"):
        model.add_dir(folder, folder)
    api.log_artifact(model, aliases=["best", "production"][: number % 3])
inat = modelkeep.Artifact("inat", "dataset")
inat.add_file("train.parquet")
inat.add_dir("parts", "parts")
api.log_artifact(inat)
bert = modelkeep.Artifact("bert-small", "model", metadata={"acc": 0.7})
bert.add_file("data/train.csv")
api.log_artifact(bert)
api.copy("inceptionV3:best", "digits", aliases=["production"])
save_file({"head.weight": np.full((3, 3), 9, np.float32)}, "model.safetensors")
pathlib.Path("tokenizer/merges.txt").write_text("new")
"""
BEFORE = {
    "downloads": "",
    "offline": "",
    "filter": "import modelkeep\napi = modelkeep.Api(project='vision')\n",
    "drafts": """
import modelkeep
run = modelkeep.init(project="vision")
shard = modelkeep.Artifact("inceptionV3", "model")
shard.add_dir("parts", "parts")
""",
    "serving": """
loaded = []
def load(path):
    loaded.append(path)
    current.close()  # somebody stops the node
""",
}
"""What the first snippet of a page takes for granted."""
TORCH = re.compile(r'^.*framework="torch".*\n', re.MULTILINE)


def blocks(page: str, language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```$", (DOCS / f"{page}.md").read_text(), re.DOTALL | re.MULTILINE)


@pytest.fixture(scope="module")
def reader(suite: Suite, tmp_path_factory: pytest.TempPathFactory) -> tuple[dict[str, str], Path]:
    """Who reads the pages: an environment, with a team in which only that is what they talk about, and a folder."""
    folder = tmp_path_factory.mktemp("reader")
    env = suite.client("vision", suite.key("readers"), MODELKEEP_CACHE_DIR=str(folder / "cache"))
    env["PATH"] = f"{BIN}:{env['PATH']}"
    done((env, folder), sys.executable, "-c", WORLD)
    return env, folder


def done(reader: tuple[dict[str, str], Path], *command: str) -> str:
    """What a command printed that went well."""
    env, folder = reader
    ran = subprocess.run(command, cwd=folder, env=env, capture_output=True, text=True, check=False, timeout=240)
    assert ran.returncode == 0, (ran.stdout, ran.stderr)
    return ran.stdout


@pytest.mark.one_topology
@pytest.mark.parametrize("page", BEFORE)
def test_the_snippets_of_a_page_run(page: str, reader: tuple[dict[str, str], Path]) -> None:
    script = BEFORE[page] + "\n".join(blocks(page, "python")).replace('"/models', f'"{reader[1]}/models')
    if page == "downloads":
        script = TORCH.sub("", script)  # it may not be installed
    out = done(reader, sys.executable, "-c", script)
    if page == "offline":
        assert re.fullmatch(r"digits@sha256:\w+ None\n", out)
        assert "synced" in done(reader, "modelkeep", "sync")
        assert done(reader, "modelkeep", "get", "digits:best", "got") != ""
    if page == "filter":
        assert out.splitlines() == ["inceptionV3:v3 0.95", "digits", "inceptionV3"]


@pytest.mark.one_topology
def test_the_commands_of_searches_and_of_the_cache_run(reader: tuple[dict[str, str], Path]) -> None:
    searches, _error = blocks("filter", "console")
    done(reader, "bash", "-ec", re.sub(r"^\$ ", "", searches, flags=re.MULTILINE))
    done(reader, "bash", "-ec", "modelkeep get inceptionV3:best; " + "\n".join(blocks("downloads", "sh")))


@pytest.mark.one_topology
def test_the_commands_of_signing_run(reader: tuple[dict[str, str], Path]) -> None:
    commands, openssl = blocks("signing", "")
    assert openssl.startswith("openssl genpkey")
    done(reader, "modelkeep", "get", "digits:production", f"{reader[1]}/models/digits")
    *plain, follow = commands.replace("/models", f"{reader[1]}/models").strip().splitlines()
    assert follow.startswith("modelkeep follow ")
    done(reader, "bash", "-ec", "\n".join(plain))


@pytest.mark.one_topology
def test_the_commands_of_drafts_run(reader: tuple[dict[str, str], Path]) -> None:
    """The last one: it takes `inceptionV3` elsewhere."""
    [console] = blocks("drafts", "console")
    done(reader, "bash", "-ec", re.sub(r"^\$ ", "", console, flags=re.MULTILINE))
    files = done(reader, "modelkeep", "ls", "--files", "inceptionV3:best")
    assert ("old-notes" in files, "model.safetensors" in files) == (False, True)
    done(reader, "modelkeep", "copy", "vision/inceptionV3:best", "prod/inceptionV3", "--alias", "production")
    done(reader, "modelkeep", "mv", "vision/inceptionV3", "prod/inception")
    assert "inceptionV3" in done(reader, "modelkeep", "names", "prod/inception")
