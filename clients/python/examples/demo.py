"""The main job from end to end, as processes that know each other only through Modelkeep.

python demo.py        starts a server in ./.demo, trains, fetches and predicts, evaluates, logs again, shows what came from what
"""

import contextlib
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from time import monotonic, sleep

HERE = Path(__file__).parent
PROGRAMS = Path(sys.executable).parent
FOLDER = Path(".demo")
START_SECONDS = 180


def say(text: str) -> None:
    print(f"\n{text}", flush=True)


@contextlib.contextmanager
def server(environment: dict[str, str], folder: Path = FOLDER) -> Iterator[None]:
    """`modelkeep-server serve all` on a free port; clients find it by the file that it writes."""
    running = folder / "config" / "server.json"
    running.unlink(missing_ok=True)
    with (folder / "server.log").open("wb") as log:
        command = [str(PROGRAMS / "modelkeep-server"), "serve", "all", "--data", str(folder / "data"), "--port", "0"]
        process = subprocess.Popen(command, env=environment, stdout=log, stderr=log)
    try:
        end = monotonic() + START_SECONDS
        while not running.exists():
            if process.poll() is not None or monotonic() > end:
                sys.exit("the server did not start:\n" + (folder / "server.log").read_text())
            sleep(0.05)
        yield
    finally:
        process.terminate()
        process.wait(60)


@dataclass(frozen=True)
class Shell:
    """Other processes, in one environment."""

    environment: dict[str, str]

    @classmethod
    def of(cls, folder: Path, project: str) -> "Shell":
        """One that knows nothing but the server of this folder."""
        (folder / "config").mkdir(parents=True, exist_ok=True)
        environment = {name: value for name, value in os.environ.items() if not name.startswith("MODELKEEP_")}
        here = {"CONFIG_HOME": folder / "config", "CACHE_DIR": folder / "cache"}
        return cls(
            environment
            | {f"MODELKEEP_{name}": str(path.absolute()) for name, path in here.items()}
            | {"MODELKEEP_PROJECT": project}
        )

    def modelkeep(self, *arguments: str) -> str:
        command = [str(PROGRAMS / "modelkeep"), *arguments]
        return subprocess.run(command, env=self.environment, check=True, stdout=subprocess.PIPE, text=True).stdout

    def example(self, script: str, *arguments: str) -> None:
        subprocess.run([sys.executable, str(HERE / script), *arguments], env=self.environment, check=True)


def log_again(shell: Shell) -> None:
    """What dedup saves: of the same content, and of content that is nearly the same."""

    def put(folder: str) -> str:
        logged = json.loads(shell.modelkeep("put", folder, "--name", "digits", "--type", "model", "--json"))
        what = "was there already" if logged["deduplicated"] else "is new"
        return f"{logged['name']} {what}: {logged['stored_bytes']:,} bytes, {logged['sent_bytes']:,} of them sent"

    with tempfile.TemporaryDirectory() as folder:
        shell.modelkeep("get", "digits:best", folder)
        print(f"  the same:            {put(folder)}")
        Path(folder, "README.md").write_text("The best of the demo.\n")
        print(f"  with a README added: {put(folder)}", flush=True)


def main() -> None:
    shell = Shell.of(FOLDER, "digits")

    say("1. A server starts in ./.demo: every service in one process, SQLite and the local disk.")
    with server(shell.environment):
        say("2. A process logs a dataset, another trains on it. Every epoch is a version; `best` stays on the best.")
        shell.example("prepare_digits.py")
        shell.example("train_digits.py", *sys.argv[1:])

        say("3. Another process fetches `digits:best`, checks it, and predicts.")
        shell.example("predict_digits.py")

        say("4. Two more evaluate it on the same dataset, on clean images and on noisy ones.")
        shell.example("evaluate_digits.py")
        shell.example("evaluate_digits.py", "--noise", "0.3")

        say("5. The best is logged again: what is known is neither sent nor stored.")
        log_again(shell)

        say("6. What is there now: modelkeep ls digits; modelkeep history digits best; modelkeep run ls")
        print(shell.modelkeep("ls", "digits"))
        print(shell.modelkeep("history", "digits", "best"))
        print(shell.modelkeep("run", "ls"))

        say("7. What made the best, and what it made: modelkeep lineage digits:best")
        print(shell.modelkeep("lineage", "digits:best"))

    program, here = os.path.relpath(PROGRAMS / "modelkeep"), os.path.relpath(HERE)
    say(
        f"Done; the server is stopped, and everything is kept in {FOLDER}. To look further, start it again in one terminal:\n"
        f"  {program} up --data {FOLDER}/data\n"
        "and in another:\n"
        f"  {program} show digits:best --project digits\n"
        f"  {program} get digits:best model --project digits\n"
        f"  {program} lineage digits:best --project digits --sources --type dataset\n"
        f"The scripts are {here}/{{prepare,train,predict,evaluate}}_digits.py;\n"
        "best_run.py and evaluate_new.py beside them go on from here."
    )


if __name__ == "__main__":
    main()
