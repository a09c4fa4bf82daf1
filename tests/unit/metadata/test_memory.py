"""How much memory versions of many entries, and entries of many segments, take on their way: always the same (SEM-27)."""

import subprocess
import sys
from pathlib import Path

import pytest

MIB = 1 << 20


def peak(what: str, count: int, folder: Path) -> int:
    """The peak memory of a process that takes so many in, commits them and gives them out again."""
    url = f"sqlite:///{folder / f'{what}-{count}.db'}"
    command = [sys.executable, "-m", "tests.unit.metadata.many", what, str(count), url]
    return int(subprocess.run(command, capture_output=True, text=True, check=True).stdout)


@pytest.mark.parametrize(("what", "few", "many"), [("entries", 5_000, 100_000), ("segments", 5_000, 400_000)])
def test_memory_is_flat(what: str, few: int, many: int, tmp_path: Path) -> None:
    """Some 40 MiB of lines, and the 400,000 segments of a file of 400 GB."""
    assert peak(what, many, tmp_path) - peak(what, few, tmp_path) < 32 * MIB


@pytest.mark.soak
@pytest.mark.timeout(0)
@pytest.mark.parametrize(("what", "count"), [("entries", 1_000_000), ("segments", 4_000_000)])
def test_memory_is_flat_for_a_million(what: str, count: int, tmp_path: Path) -> None:
    """DESIGN §9: below 512 MiB."""
    assert peak(what, count, tmp_path) < 192 * MIB
