"""P4 and P5: logging again what hardly changed, and what did not change at all."""

from __future__ import annotations

import shutil
from pathlib import Path

from tests.bench.material import fine_tune, make_checkpoint, warmed
from tests.bench.measure import MIB, Result, client, interleave, make_file, run
from tests.bench.parts import modelkeep_server

FILES = 64
"""A directory of so many files makes up the size."""


def p4(folder: Path, size: int) -> list[Result]:
    """The bytes that a fine-tune with 2 % of its tensors changed, and a header that grew, sends."""
    first = make_checkpoint(folder / "model.safetensors", size)
    with modelkeep_server(folder) as server:
        client("log", str(first), env=server.env)
        tuned = fine_tune(first, 0.02)
        tuned.replace(first)
        cost = client("log", str(first), env=server.env)
    sent, total = int(cost.output["sent_bytes"]), first.stat().st_size  # type: ignore[call-overload]
    first.unlink()
    share = sent / total * 100
    work = f"log {size // MIB:,} MiB again, 2 % of tensors changed"
    return [
        Result("P4", work, share, None, "", "% sent", None, "≤ 4.5", share <= 4.5, {"sent_bytes": sent, "size_bytes": total})
    ]


def p5(folder: Path, size: int, rounds: int) -> list[Result]:
    """Log an unchanged directory, with the stat cache and without."""
    tree = folder / "tree"
    tree.mkdir()
    for number in range(FILES):
        make_file(tree / f"shard-{number:03}.bin", size // FILES)
    hashing = f"find '{tree}' -type f -print0 | xargs -0 openssl dgst -sha256 > '{folder}/sums'"
    with modelkeep_server(folder) as server:
        client("log", str(tree), env=server.env)
        warmed(tree)
        cold_env = server.env | {"MODELKEEP_CACHE_BYTES": "0"}
        cold, theirs = interleave(
            rounds,
            lambda _: client("log", str(tree), env=cold_env).seconds,
            lambda _: run(["sh", "-c", hashing]).seconds,
        )
        warm, again = interleave(
            rounds,
            lambda _: client("log", str(tree), env=server.env).seconds,
            lambda _: run(["sh", "-c", hashing]).seconds,
        )
    shutil.rmtree(tree)
    work = f"log an unchanged directory of {size // MIB:,} MiB"
    return [
        Result("P5", work, cold, theirs, "s openssl", "s", cold / theirs, "≤ 1.6", cold / theirs <= 1.6),
        Result("P5", "  with the stat cache", warm, again, "s openssl", "s", warm / again, "≤ 0.1", warm / again <= 0.1),
    ]
