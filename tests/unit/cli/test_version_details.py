"""What people see of a version."""

from __future__ import annotations

from typing import Any

import pytest
from modelkeep._version import Version
from modelkeep.api.metadata.v1 import version_pb2
from modelkeep.cli.values import version_details, version_json

UNUSED: Any = None


@pytest.mark.parametrize(
    ("referenced", "shown"), [(0, "2 files, 3.0 KiB"), (1024, "2 files, 3.0 KiB stored, 1.0 KiB referenced, 4.0 KiB in all")]
)
def test_sizes_are_given_apart(referenced: int, shown: str) -> None:
    """SEM-36: stored, referenced, total."""
    message = version_pb2.Version(name="teams/t/projects/p/collections/c/versions/v0", metadata_json="{}", entry_count=2)
    message.stored_bytes, message.referenced_bytes = 3072, referenced
    version = Version.from_pb(message, UNUSED)
    assert version_details(version)["content"] == shown
    sizes = [version_json(version)[f"{what}_bytes"] for what in ("stored", "referenced", "total")]
    assert sizes == [3072, referenced, 3072 + referenced]
