"""The SDK in many threads, many processes, forked children, a notebook's patience, and without itself."""

from __future__ import annotations

import multiprocessing
import os
import subprocess
import sys
import textwrap
import threading
from pathlib import Path

import modelkeep
import pytest

from tests.contract.sdk import artifact, read, some, write
from tests.suites import Suite

EXAMPLES = Path(__file__).parents[2] / "clients" / "python" / "examples"


@pytest.fixture(autouse=True)
def _client(client_env: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in client_env if name.startswith("MODELKEEP_")]:
        monkeypatch.setenv(name, client_env[name])


def python(program: str, env: dict[str, str], *arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-c", textwrap.dedent(program), *arguments]
    return subprocess.run(command, env=env, capture_output=True, text=True, check=False, timeout=200)


def test_many_threads_share_a_run(tmp_path: Path) -> None:
    failures: list[BaseException] = []
    versions: list[modelkeep.Version] = []

    def work(number: int) -> None:
        try:
            for again in range(3):
                made = artifact(tmp_path / f"{number}-{again}", {"x": some(50_000)})
                versions.append(run.log_artifact(made))
                run.use_artifact("digits:v0")
        except BaseException as error:
            failures.append(error)

    with modelkeep.init() as run:
        run.log_artifact(artifact(tmp_path / "first", {"x": some()}))
        threads = [threading.Thread(target=work, args=(number,)) for number in range(6)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert failures == []
    assert sorted(version.number for version in versions) == list(range(1, 19))


LOGGER = """
    import os, sys, modelkeep
    with modelkeep.init(name=sys.argv[1]) as run:
        for number in range(4):
            made = modelkeep.Artifact("shared", "model")
            with made.new_file("weights", "wb") as file:
                file.write(f"{sys.argv[1]}-{number}".encode() * 1000)
            with made.new_file("same", "wb") as file:
                file.write(b"the same in all of them" * 1000)
            print(run.log_artifact(made, aliases=[f"best-{sys.argv[1]}", "best"]).version)
"""


def test_eight_processes_log_into_one_collection_at_once(client_env: dict[str, str]) -> None:
    """SEM-9, 16: every version gets one number, and every alias one version."""
    program = textwrap.dedent(LOGGER)
    processes = [
        subprocess.Popen([sys.executable, "-c", program, f"p{number}"], env=client_env, stdout=subprocess.PIPE, text=True)
        for number in range(8)
    ]
    printed = [process.communicate(timeout=250)[0].split() for process in processes]
    assert [process.returncode for process in processes] == [0] * 8
    numbers = [int(version.removeprefix("v")) for versions in printed for version in versions]
    assert sorted(numbers) == list(range(32))
    aliases = {alias.alias: alias.version for alias in modelkeep.Api().aliases("shared")}
    assert [aliases[f"best-p{number}"] for number in range(8)] == [versions[-1] for versions in printed]
    assert aliases["best"] in {versions[-1] for versions in printed}


def test_processes_that_log_the_same_at_once_get_one_version(client_env: dict[str, str]) -> None:
    """SEM-13."""
    program = textwrap.dedent(LOGGER).replace('f"{sys.argv[1]}-{number}"', '"equal"')
    processes = [
        subprocess.Popen([sys.executable, "-c", program, f"p{number}"], env=client_env, stdout=subprocess.PIPE, text=True)
        for number in range(4)
    ]
    printed = [process.communicate(timeout=250)[0].split() for process in processes]
    assert printed == [["v0"] * 4] * 4


DATA_LOADER = """
    import multiprocessing, sys, modelkeep

    def read_batch(number):
        path = modelkeep.Api().artifact("data:v0").download(f"{sys.argv[1]}/{number}")
        made = modelkeep.Artifact(f"from-child-{number}", "features")
        made.add_dir(path)
        return run.log_artifact(made).name

    run = modelkeep.init()
    data = modelkeep.Artifact("data", "dataset")
    with data.new_file("x") as file:
        file.write("x" * 100_000)
    run.log_artifact(data)
    large = modelkeep.Artifact("large", "model")
    with large.new_file("weights", "wb") as file:
        import os
        file.write(os.urandom(48 << 20))
    pending = run.log_artifact(large, wait=False)     # goes on while children are forked
    with multiprocessing.get_context("fork").Pool(3) as pool:
        print(*sorted(pool.map(read_batch, range(6))))
    print(pending.result().name, run.use_artifact("data").name)
    run.finish()
"""


@pytest.mark.peer("M-UP-2")
def test_a_data_loader_forks_while_a_checkpoint_goes_up(client_env: dict[str, str], tmp_path: Path) -> None:
    done = python(DATA_LOADER, client_env, str(tmp_path))
    assert done.returncode == 0, done.stderr
    children = " ".join(f"from-child-{number}:v0" for number in range(6))
    assert done.stdout.splitlines() == [children, "large:v0 data:v0"]


def test_children_that_are_spawned_work(client_env: dict[str, str], tmp_path: Path) -> None:
    modelkeep.Api().log_artifact(artifact(tmp_path / "in", {"x": b"1"}))
    with multiprocessing.get_context("spawn").Pool(2) as pool:
        assert pool.map(_digest_of, ["digits:v0"] * 4) == [modelkeep.Api().artifact("digits").digest] * 4
        # A version may be handed to another process, and finds its server there.
        assert pool.apply(_download, (modelkeep.Api().artifact("digits"), tmp_path / "out")) == {"x": b"1"}


def _download(version: modelkeep.Version, root: Path) -> dict[str, bytes]:
    return read(version.download(root))


def _digest_of(address: str) -> str:
    return modelkeep.Api().artifact(address).digest


def test_a_run_that_is_forgotten_still_uploads(client_env: dict[str, str]) -> None:
    program = """
        import modelkeep
        made = modelkeep.Artifact("forgotten", "model")
        with made.new_file("x") as file:
            file.write("x")
        modelkeep.init().log_artifact(made, wait=False)
    """
    assert python(program, client_env).returncode == 0
    assert modelkeep.Api().artifact("forgotten").version == "v0"


@pytest.mark.peer("M-UP-4")
def test_a_script_whose_upload_fails_ends_with_an_error(client_env: dict[str, str]) -> None:
    program = """
        import modelkeep
        with modelkeep.init() as run:
            for type in ("model", "dataset"):
                made = modelkeep.Artifact("twice", type)
                with made.new_file("x") as file:
                    file.write(type)
                pending = run.log_artifact(made, wait=False)
                while type == "model" and not pending.done():
                    pass
    """
    done = python(program, client_env)
    assert done.returncode == 1
    assert "CollectionTypeMismatch" in done.stderr


def test_nothing_is_printed_into_a_pipe(client_env: dict[str, str], tmp_path: Path) -> None:
    write(tmp_path, {"in/x": some(3 << 20)})
    program = """
        import sys, modelkeep
        with modelkeep.init() as run:
            run.log_artifact(sys.argv[1] + "/in", "quiet", "model").download(sys.argv[1] + "/out")
    """
    done = python(program, {name: value for name, value in client_env.items() if name != "MODELKEEP_PROGRESS"}, str(tmp_path))
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


def test_a_client_needs_no_sdk(client_env: dict[str, str], tmp_path: Path) -> None:
    """The contract is the product: generated stubs alone log and fetch."""
    write(tmp_path, {"weights.bin": some((4 << 20) + 3)})
    command = [sys.executable, str(EXAMPLES / "stubs_only.py"), str(tmp_path / "weights.bin"), "stubs"]
    first = subprocess.run(command, env=client_env, capture_output=True, text=True, check=False, timeout=100)
    assert first.returncode == 0, first.stderr
    assert "logged, 3 of 3 chunks sent" in first.stdout
    second = subprocess.run(command, env=client_env, capture_output=True, text=True, check=True, timeout=100)
    assert "was there already, 0 of 3 chunks sent" in second.stdout
    version = modelkeep.Api().artifact("stubs:best")
    assert version.metadata == {"made_with": "stubs alone"}
    assert read(version.download(tmp_path / "out")) == {"weights.bin": (tmp_path / "weights.bin").read_bytes()}


@pytest.mark.peer("M-UP-2")
@pytest.mark.parametrize(
    ("count", "size"), [(60, 16 << 20), pytest.param(1000, 64 << 20, marks=[pytest.mark.soak, pytest.mark.timeout(3600)])]
)
def test_many_large_files_do_not_block_each_other(tmp_path: Path, count: int, size: int) -> None:
    """They are sparse, so all their chunks are one, of the largest size, which is sent once."""
    made = modelkeep.Artifact("sparse", "model")
    for number in range(count):
        with (tmp_path / f"{number}").open("wb") as file:
            file.truncate(size)
        made.add_file(tmp_path / f"{number}")
    version = modelkeep.Api().log_artifact(made)
    assert version.stored_bytes == count * size
    assert version.sent_bytes <= 4 << 20


def test_memory_does_not_grow_with_the_file(client_env: dict[str, str], tmp_path: Path) -> None:
    """P15: at most 200 MiB, whatever is logged or fetched."""
    with (tmp_path / "large").open("wb") as file:
        for _ in range(24):
            file.write(os.urandom(16 << 20))
    program = """
        import sys, modelkeep

        def peak():
            return next(int(line.split()[1]) // 1024 for line in open("/proc/self/status") if line.startswith("VmHWM"))

        with modelkeep.init() as run:
            version = run.log_artifact(sys.argv[1] + "/large", "large", "model")
            logged = peak()
            version.download(sys.argv[1] + "/out")
            print(logged, peak())
    """
    done = python(program, client_env, str(tmp_path))
    assert done.returncode == 0, done.stderr
    assert all(int(peak) < 200 for peak in done.stdout.split()), done.stdout


def test_the_suite_of_a_users_tests(suite: Suite, tmp_path: Path) -> None:
    if suite.topology != "embedded":
        pytest.skip("it is the embedded one, whatever the topology")
    program = """
        import sys, modelkeep
        from modelkeep.testing import local_suite

        with local_suite() as suite:
            run = modelkeep.init(project="test", url=suite.url, api_key=suite.api_key)
            run.log_artifact(sys.argv[1] + "/in", "m", "model", aliases=["best"])
            suite.api(project="test").artifact("m:best").download(sys.argv[1] + "/out")
            run.finish()
        print("done")
    """
    write(tmp_path, {"in/a": b"1"})
    env = {name: value for name, value in os.environ.items() if not name.startswith("MODELKEEP_")}
    done = python(program, env | {"MODELKEEP_CONFIG_HOME": str(tmp_path / "config")}, str(tmp_path))
    assert done.returncode == 0, done.stderr
    assert done.stdout.endswith("done\n")
    assert read(tmp_path / "out") == {"a": b"1"}
