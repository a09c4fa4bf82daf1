"""Who holds a data folder, and on what it lies."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from modelkeep_server.runtime.lifecycle import CannotStart, FolderLock, is_locked, refuse_network_file_system, told_to_stop

HOLD = """
import sys, time
from pathlib import Path
from modelkeep_server.runtime.lifecycle import FolderLock
lock = FolderLock(Path(sys.argv[1]), "blob")
lock.say("grpc://127.0.0.1:7")
print("held", flush=True)
time.sleep(600)
"""


def test_a_second_process_learns_who_has_the_folder_and_a_killed_one_has_it_no_more(tmp_path: Path):
    with subprocess.Popen([sys.executable, "-c", HOLD, str(tmp_path)], stdout=subprocess.PIPE) as other:
        assert other.stdout
        assert other.stdout.readline() == b"held\n"
        assert is_locked(tmp_path, "blob")
        with pytest.raises(CannotStart, match=rf"process {other.pid} at grpc://127\.0\.0\.1:7.*--data"):
            FolderLock(tmp_path, "blob")
        with FolderLock(tmp_path, "metadata"):
            pass  # another service may use the same folder
        other.kill()
    with FolderLock(tmp_path, "blob"):
        assert is_locked(tmp_path, "blob")
    assert not is_locked(tmp_path, "blob")


def test_a_folder_that_cannot_be_used_says_so(tmp_path: Path):
    (tmp_path / "file").write_text("")
    with pytest.raises(CannotStart, match="--data"):
        FolderLock(tmp_path / "file" / "data", "blob")
    assert not is_locked(tmp_path / "nowhere", "blob")


def test_a_lock_file_that_makes_no_sense_still_refuses(tmp_path: Path):
    with FolderLock(tmp_path, "blob"):
        (tmp_path / "blob.lock").write_text("not JSON")
        with pytest.raises(CannotStart, match="another process"):
            FolderLock(tmp_path, "blob")


@pytest.mark.parametrize("kind", ["nfs4", "cifs", "fuse.sshfs", "ceph"])
def test_sqlite_on_a_network_file_system_is_refused(tmp_path: Path, kind: str):
    mounts = tmp_path / "mounts"
    mounts.write_text(f"/dev/sda / ext4 rw 0 0\nhost:/export /mnt/my\\040share {kind} rw 0 0\n")
    with pytest.raises(CannotStart, match=kind):
        refuse_network_file_system(Path("/mnt/my share/data/metadata.sqlite"), mounts)
    refuse_network_file_system(Path("/mnt/my shared/metadata.sqlite"), mounts)
    refuse_network_file_system(Path("/srv/metadata.sqlite"), mounts)


def test_a_local_mount_inside_a_network_one_is_local(tmp_path: Path):
    mounts = tmp_path / "mounts"
    mounts.write_text("host:/home /home nfs rw 0 0\n/dev/sdb /home/me/disk ext4 rw 0 0\n")
    refuse_network_file_system(Path("/home/me/disk/x.sqlite"), mounts)
    with pytest.raises(CannotStart):
        refuse_network_file_system(Path("/home/me/x.sqlite"), mounts)


def test_a_system_without_a_list_of_mounts_is_trusted(tmp_path: Path):
    refuse_network_file_system(tmp_path / "x.sqlite", tmp_path / "no such file")


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
async def test_a_signal_asks_to_stop_once(number: signal.Signals):
    before = signal.getsignal(number)
    async with told_to_stop() as stop:
        os.kill(os.getpid(), number)
        await stop.wait()
    assert signal.getsignal(number) in {before, signal.default_int_handler, signal.SIG_DFL}
