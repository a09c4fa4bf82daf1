"""`import modelkeep`: light, lazy, and few names that stay (P15)."""

from __future__ import annotations

import subprocess
import sys

import modelkeep
import pytest
from modelkeep import errors

PUBLIC = {
    "Alias", "AliasChange", "AliasRule", "Api", "ApiKey", "Artifact", "Collection", "CollectionChange", "Comparison",
    "Draft", "Edge", "File", "Folder", "Follower", "Graph", "Group", "Impact", "Link", "Metric", "NewKey", "Node",
    "PendingVersion", "Point", "Project", "RecordedRun", "Run", "RunEnvironment", "RunSource", "Signature", "Tombstone",
    "Uses", "Version", "__version__", "follow", "init",
}  # fmt: skip


def test_importing_loads_neither_grpc_nor_protobuf() -> None:
    heavy = "{'grpc', 'google.protobuf', 'urllib3', 'rich', 'typer', 'platformdirs'}"
    program = f"import sys, modelkeep; print(sorted({heavy} & set(sys.modules)))"
    assert subprocess.run([sys.executable, "-c", program], check=True, capture_output=True, text=True).stdout == "[]\n"


def test_building_an_artifact_needs_neither() -> None:
    program = "import sys, modelkeep; modelkeep.Artifact('a', 'model'); print('grpc' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", program], check=True, capture_output=True, text=True).stdout == "False\n"


def test_the_public_names_are_these() -> None:
    assert set(modelkeep.__all__) == PUBLIC
    for name in PUBLIC:
        assert getattr(modelkeep, name)


def test_every_error_is_at_hand() -> None:
    for cls in errors.BY_REASON.values():
        assert getattr(modelkeep, cls.__name__) is cls
    assert modelkeep.ModelkeepError is errors.ModelkeepError
    assert modelkeep.NotFound is errors.NotFound
    assert {"VersionNotFound", "Api"} <= set(dir(modelkeep))


@pytest.mark.parametrize("name", ["Code", "rebuild", "DOMAIN", "grpc", "apis", "__path"])
def test_nothing_else_is_public(name: str) -> None:
    with pytest.raises(AttributeError, match=name):
        getattr(modelkeep, name)


def test_the_version_is_that_of_the_distribution() -> None:
    assert modelkeep.__version__.count(".") >= 2
