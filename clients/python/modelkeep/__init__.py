"""Modelkeep keeps machine-learning models: versions them, names the ones that matter, hands them to whoever serves them.

    import modelkeep

    with modelkeep.init(project="vision") as run:
        model = modelkeep.Artifact("inceptionV3", type="model", metadata={"acc": 0.91})
        model.add_file("model.safetensors")
        version = run.log_artifact(model, aliases=["best"])

    modelkeep.Api().artifact("vision/inceptionV3:best").download("model")

Importing it is cheap: what it needs comes in when a name is first used. Every error of `modelkeep.errors` is here too.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from modelkeep._alias import Alias, AliasChange
    from modelkeep._api import Api
    from modelkeep._artifact import Artifact
    from modelkeep._collection import Collection, CollectionChange, Project
    from modelkeep._draft import Draft
    from modelkeep._file import File, Folder
    from modelkeep._follow import Follower, follow
    from modelkeep._graph import Graph
    from modelkeep._init import init
    from modelkeep._key import ApiKey, NewKey
    from modelkeep._lineage import Impact
    from modelkeep._metric import Metric, Point
    from modelkeep._node import Edge, Group, Link, Node
    from modelkeep._recorded_run import RecordedRun, RunEnvironment, RunSource
    from modelkeep._rule import AliasRule, Comparison
    from modelkeep._run import PendingVersion, Run
    from modelkeep._signing import Signature
    from modelkeep._version import Tombstone, Uses, Version
    from modelkeep.errors import *  # noqa: F403

    __version__: str

_HOMES = {
    "Alias": "_alias",
    "AliasChange": "_alias",
    "AliasRule": "_rule",
    "Api": "_api",
    "ApiKey": "_key",
    "Artifact": "_artifact",
    "Collection": "_collection",
    "CollectionChange": "_collection",
    "Comparison": "_rule",
    "Draft": "_draft",
    "Edge": "_node",
    "File": "_file",
    "Folder": "_file",
    "Follower": "_follow",
    "Graph": "_graph",
    "Group": "_node",
    "Impact": "_lineage",
    "Link": "_node",
    "Metric": "_metric",
    "NewKey": "_key",
    "Node": "_node",
    "PendingVersion": "_run",
    "Point": "_metric",
    "Project": "_collection",
    "RecordedRun": "_recorded_run",
    "Run": "_run",
    "RunEnvironment": "_recorded_run",
    "RunSource": "_recorded_run",
    "Signature": "_signing",
    "Tombstone": "_version",
    "Uses": "_version",
    "Version": "_version",
    "follow": "_follow",
    "init": "_init",
}

__all__ = [
    "Alias",
    "AliasChange",
    "AliasRule",
    "Api",
    "ApiKey",
    "Artifact",
    "Collection",
    "CollectionChange",
    "Comparison",
    "Draft",
    "Edge",
    "File",
    "Folder",
    "Follower",
    "Graph",
    "Group",
    "Impact",
    "Link",
    "Metric",
    "NewKey",
    "Node",
    "PendingVersion",
    "Point",
    "Project",
    "RecordedRun",
    "Run",
    "RunEnvironment",
    "RunSource",
    "Signature",
    "Tombstone",
    "Uses",
    "Version",
    "__version__",
    "follow",
    "init",
]


def __getattr__(name: str) -> Any:
    if name in _HOMES:
        value = getattr(import_module(f"modelkeep.{_HOMES[name]}"), name)
    elif name == "__version__":
        value = import_module("importlib.metadata").version("modelkeep")
    else:
        value = _error_class(name)
    globals()[name] = value
    return value


def _error_class(name: str) -> Any:
    errors = import_module("modelkeep.errors")
    found = getattr(errors, name, None) if name[:1].isupper() else None
    if not (isinstance(found, type) and issubclass(found, errors.ModelkeepError)):
        message = f"module 'modelkeep' has no attribute {name!r}"
        raise AttributeError(message)  # noqa: TRY004 - what looking up a name raises
    return found


def __dir__() -> list[str]:
    errors = import_module("modelkeep.errors")
    return sorted({*__all__, *(cls.__name__ for cls in errors.BY_REASON.values()), "ModelkeepError"})
