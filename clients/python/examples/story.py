"""Fine-tune with frozen layers, pull the plug in the middle of an upload, follow `production` while it moves.

python story.py        starts a server in ./.story, which it empties first; everything is over when it ends
"""

import contextlib
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from time import sleep

from demo import HERE, Shell, say, server

FOLDER = Path(".story")
CHUNKS = FOLDER / "data" / "blobs" / "chunks"
MIB = 1 << 20
ENOUGH = 16 * MIB
"""When so much has arrived, the plug is pulled."""
TRIES = 5


def stored() -> int:
    """The bytes of all chunks that the server has."""
    return sum(path.stat().st_size for path in CHUNKS.rglob("*") if path.is_file())


def kill_in_the_middle(shell: Shell, seed: int) -> int:
    """Log a checkpoint, and kill that process as soon as some of it is stored; how much was."""
    before = stored()
    command = [sys.executable, str(HERE / "fine_tune.py"), "checkpoint", str(seed)]
    with subprocess.Popen(command, env=shell.environment, stdout=subprocess.DEVNULL) as process:
        while process.poll() is None and stored() < before + ENOUGH:
            sleep(0.001)
        process.send_signal(signal.SIGKILL)
    if process.returncode != -signal.SIGKILL:
        return 0
    arrived = -1
    while arrived != (arrived := stored() - before):
        sleep(0.5)  # what was complete when its sender died is still being stored
    return arrived


def pull_the_plug(shell: Shell) -> None:
    for seed in range(7, 7 + TRIES):  # it may be over before it is killed, or nothing be acknowledged yet: then another one
        arrived = kill_in_the_middle(shell, seed)
        command = [sys.executable, str(HERE / "fine_tune.py"), "checkpoint", str(seed)]
        again = subprocess.run(command, env=shell.environment, check=True, stdout=subprocess.PIPE, text=True).stdout
        if arrived and "(100.0%)" not in again and "(0.0%)" not in again:
            print(f"  killed, when {arrived / MIB:.1f} MiB had arrived; there is no version. The same again:\n{again}", end="")
            return
    sys.exit("no kill came in the middle")


@contextlib.contextmanager
def node(shell: Shell) -> Iterator[subprocess.Popen[str]]:
    """Another process, which serves whatever `production` is."""
    command = [sys.executable, str(HERE / "follow_production.py"), str(FOLDER / "models")]
    with (
        (FOLDER / "node.log").open("wb") as log,
        subprocess.Popen(command, env=shell.environment, stdout=subprocess.PIPE, stderr=log, text=True) as process,
    ):
        try:
            yield process
        finally:
            process.terminate()  # an interrupt would be ignored where whoever started all this ignores it, as nohup does


def await_line(process: subprocess.Popen[str], text: str) -> None:
    """Show what the process says, up to a line with this text."""
    for line in process.stdout or ():
        print(line, end="", flush=True)
        if text in line:
            return
    sys.exit(f"the node ended before it said {text!r}")


def follow(shell: Shell, process: subprocess.Popen[str]) -> None:
    await_line(process, "encoder:v1")
    for version, why in (("v2", "better on held-out data"), ("v1", "rolled back")):
        print(f"  modelkeep alias set encoder:{version} production --reason {why!r}", flush=True)
        shell.modelkeep("alias", "set", f"encoder:{version}", "production", "--reason", why)
        await_line(process, f"encoder:{version}")


def main() -> None:
    shutil.rmtree(FOLDER, ignore_errors=True)
    shell = Shell.of(FOLDER, "story")
    with contextlib.ExitStack() as nodes:
        with server(shell.environment, FOLDER):
            say("1. A model of 15 frozen blocks is logged, then fine-tuned twice: only its last block and its head change.")
            shell.example("fine_tune.py", "base")
            shell.example("fine_tune.py", "tune")

            say("2. A checkpoint of 240 MiB goes up, and the plug is pulled in the middle. Run again, only the rest is sent.")
            pull_the_plug(shell)

            say("3. Another process follows `production` while it moves.")
            shell.modelkeep("alias", "set", "encoder:v1", "production", "--reason", "the first that learned something")
            process = nodes.enter_context(node(shell))
            follow(shell, process)
        serves = (FOLDER / "models" / "current" / "model.safetensors").stat().st_size
        alive = process.poll() is None
        say("4. The server is stopped, and the node goes on." if alive else "4. The node ended with the server.")
        print(f"  {FOLDER}/models/current still leads to {serves / MIB:.1f} MiB; when a server comes back, it follows on.")


if __name__ == "__main__":
    main()
