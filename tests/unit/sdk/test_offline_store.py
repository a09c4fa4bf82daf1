"""Snapshots of what was logged offline: what the files were then, once each, and checked when they are read."""

from __future__ import annotations

import os
import subprocess
import sys
import textwrap
import time
from pathlib import Path

import pytest
from modelkeep._artifact import Artifact
from modelkeep._offline_store import Snapshots
from modelkeep.digest import Digest
from modelkeep.errors import DigestMismatch, FileChanged, FileUnreadable, InvalidEntry
from modelkeep.manifest import Entry, manifest_digest


@pytest.fixture
def store(tmp_path: Path) -> Snapshots:
    (tmp_path / "run").mkdir()
    return Snapshots(str(tmp_path / "run"))


def of(root: Path, content: dict[str, bytes]) -> Artifact:
    for path, data in content.items():
        (root / path).parent.mkdir(parents=True, exist_ok=True)
        (root / path).write_bytes(data)
    made = Artifact("digits", "model")
    made.add_dir(root)
    return made


def objects(store: Snapshots) -> dict[str, bytes]:
    root = Path(store.folder, "objects")
    return {path.name: path.read_bytes() for path in root.rglob("*") if path.is_file()}


def manifests(store: Snapshots) -> list[str]:
    return [path.name for path in Path(store.folder, "manifests").iterdir()]


class Counting(Snapshots):
    """Counts the files that it reads."""

    copies = 0

    def _copy(self, *arguments):
        self.copies += 1
        return super()._copy(*arguments)


def age(root: Path) -> None:
    """Make files old enough that their times are trusted."""
    for path in root.rglob("*"):
        os.utime(path, ns=(1_600_000_000_000_000_000,) * 2)
    end = time.monotonic() + 30
    while max(path.stat().st_ctime for path in root.rglob("*")) > time.time() - 2.1:
        assert time.monotonic() < end
        time.sleep(0.05)


def test_the_digest_is_the_one_that_the_version_will_have(store: Snapshots, tmp_path: Path) -> None:
    content = {"b/c.txt": b"1", "a": b"22", "b.txt": b"", "b/a": b"1"}
    (tmp_path / "in").mkdir()
    made = of(tmp_path / "in", content)
    (tmp_path / "in" / "a").chmod(0o755)
    taken = store.take(made.sources())
    entries = [Entry(path, Digest.of(data), len(data), path == "a") for path, data in content.items()]
    assert taken.digest == manifest_digest(entries)
    assert (taken.entry_count, taken.size_bytes) == (4, 4)
    assert list(store.entries(taken.digest)) == sorted(entries, key=lambda entry: entry.path.encode())


def test_a_snapshot_stays_what_the_file_was(store: Snapshots, tmp_path: Path) -> None:
    """A hard link would change with the file."""
    made = of(tmp_path / "in", {"x": b"before" * 1000})
    taken = store.take(made.sources())
    with (tmp_path / "in" / "x").open("r+b") as file:
        file.write(b"after!")
    (entry,) = store.entries(taken.digest)
    assert Path(store.object(entry.digest.sha256, executable=False)).read_bytes() == b"before" * 1000


def test_content_is_kept_once(store: Snapshots, tmp_path: Path) -> None:
    store.take(of(tmp_path / "in", {"x": b"same", "y/x": b"same", "z": b"other"}).sources())
    first = objects(store)
    assert sorted(first.values()) == [b"other", b"same"]
    store.take(of(tmp_path / "in", {"x": b"same", "y/x": b"same", "z": b"other"}).sources())
    assert objects(store) == first
    assert len(manifests(store)) == 1


def test_a_file_that_did_not_change_is_not_even_read(tmp_path: Path) -> None:
    made = of(tmp_path / "in", {"x": b"1" * 100, "y": b"2"})
    store = Counting(str(tmp_path / "run"))
    young = store.take(made.sources())
    assert store.take(made.sources()) == young
    assert store.copies == 4, "times of a file that was just written tell nothing"
    age(tmp_path / "in")
    assert store.take(made.sources()) == store.take(made.sources()) == young
    assert store.copies == 6
    (tmp_path / "in" / "y").write_bytes(b"3")
    assert store.take(made.sources()) != young
    assert store.copies == 7


def test_a_file_that_is_executable_too_is_kept_as_both(store: Snapshots, tmp_path: Path) -> None:
    made = of(tmp_path / "in", {"run.sh": b"same", "text": b"same"})
    (tmp_path / "in" / "run.sh").chmod(0o700)
    taken = store.take(made.sources())
    modes = {}
    for entry in store.entries(taken.digest):
        kept = Path(store.object(entry.digest.sha256, executable=entry.executable))
        modes[entry.path] = os.access(kept, os.X_OK)
        assert kept.read_bytes() == b"same"
    assert modes == {"run.sh": True, "text": False}


def test_a_file_that_changes_meanwhile_is_refused_and_leaves_nothing(store: Snapshots, tmp_path: Path) -> None:
    made = of(tmp_path / "in", {"x": b"1" * 100})

    def sources():
        yield from made.sources()

    class Growing(Snapshots):
        def _copy(self, source, descriptor, identity):
            with open(source.path, "ab") as more:
                more.write(b"2")
            return super()._copy(source, descriptor, identity)

    with pytest.raises(FileChanged, match="nothing was recorded"):
        Growing(store.folder).take(sources())
    assert objects(store) == {}
    assert manifests(store) == []


def test_a_file_that_is_gone_is_told(store: Snapshots, tmp_path: Path) -> None:
    made = of(tmp_path / "in", {"x": b"1", "y": b"2"})
    (tmp_path / "in" / "y").unlink()
    with pytest.raises(FileUnreadable, match="y"):
        store.take(made.sources())
    (tmp_path / "in" / "y").mkdir()
    with pytest.raises(FileUnreadable, match="folder"):
        store.take(made.sources())


def test_a_full_disk_leaves_no_half_snapshot(store: Snapshots, tmp_path: Path) -> None:
    """A limit on the size of files stands for a full disk: it stops a copy in its middle too."""
    script = """
        import resource, signal, sys
        from modelkeep._artifact import Artifact
        from modelkeep._offline_store import Snapshots
        from modelkeep.errors import TargetUnusable
        made = Artifact("digits", "model")
        made.add_dir(sys.argv[2])
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000))
        try:
            Snapshots(sys.argv[1]).take(made.sources())
        except TargetUnusable as error:
            print(error.metadata["path"] == sys.argv[1])
    """
    of(tmp_path / "in", {"a": b"1", "b": b"2" * 3_000_000})
    command = [sys.executable, "-c", textwrap.dedent(script), store.folder, str(tmp_path / "in")]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (0, "True\n"), done.stderr
    assert list(objects(store).values()) == [b"1"]
    assert manifests(store) == []


@pytest.mark.parametrize("damage", [b'["x","00",1,0]\n', b"not json\n", b"", b'["../x","' + b"0" * 64 + b'",1,0]\n'])
def test_a_damaged_list_of_files_is_told(store: Snapshots, tmp_path: Path, damage: bytes) -> None:
    taken = store.take(of(tmp_path / "in", {"x": b"1"}).sources())
    Path(store.folder, "manifests", taken.digest.hex).write_bytes(damage)
    with pytest.raises((InvalidEntry, DigestMismatch), match="damaged"):
        list(store.entries(taken.digest))


def test_a_list_of_files_that_is_gone_is_told(store: Snapshots) -> None:
    with pytest.raises(InvalidEntry, match="cannot be read"):
        list(store.entries(Digest.of(b"never")))
