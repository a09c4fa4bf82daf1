"""Golden files: bytes and texts that must never change, also for clients in other languages.

They were computed apart from the code that they judge. A test that disagrees with them is a broken promise, not a stale file.
"""

import json
from pathlib import Path
from typing import Any


def load(name: str) -> Any:
    """The content of one golden file."""
    return json.loads((Path(__file__).parent / name).read_text(encoding="utf-8"))
