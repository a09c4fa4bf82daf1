"""The public names of the SDK: others build on them, so they are added deliberately and never taken away."""

import importlib
import pkgutil
import subprocess
import sys

import modelkeep
import pytest
from modelkeep import errors

NAMES = {
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
}
MODULES = {"address", "api", "cli", "config", "digest", "errors", "manifest", "metadata", "names", "testing"}
API = {
    *("aliases", "artifact", "collection", "collections", "create_key", "create_project", "default_project", "delete_alias"),
    *("describe", "edit_project", "history", "keys", "log_artifact", "project", "projects", "promote", "rename", "restore"),
    *("collection_history", "copy", "draft", "drafts", "move", "open_draft"),
    *("revoke_key", "search", "set_type", "team", "versions"),
    *("best_run", "common_ancestors", "delete_run", "impact", "lineage", "neighbors", "paths", "run", "runs", "sources"),
}
VERSION = {
    *(
        "checkout",
        "delete",
        "download",
        "edit",
        "files",
        "load_safetensors",
        "ls",
        "name",
        "open",
        "produced_by",
        "sign",
        "signatures",
        "tag",
        "used_by",
        "verify",
        "verify_signature",
    ),
    "version",
}
DRAFT = {"abort", "add", "add_dir", "add_file", "commit", "commit_words", "flush", "refresh", "remove"}
METHODS = {
    "Api": API,
    "Artifact": {"add_dir", "add_file", "new_file"},
    "Run": {"finish", "id", "log_artifact", "name", "project", "resource_name", "team", "use_artifact"}
    | {"finish_artifact", "upsert_artifact"},
    "Version": VERSION,
    "Draft": DRAFT,
    "Graph": {"edges", "expand", "groups", "more", "nodes", "root", "to_dict", "to_dot", "to_json", "tree", "walk"},
    "Node": {"is_copy", "place", "run", "version"},
    "RecordedRun": {"add_tags", "delete", "edit", "history", "metrics", "produced", "remove_tags", "used"},
    "Follower": {"close", "digest", "link", "name", "path", "reading", "ready", "since", "status", "version", "wait"},
}


def test_the_public_names_are_these():
    assert set(modelkeep.__all__) == NAMES
    for name in NAMES:
        assert getattr(modelkeep, name) is not None


def test_every_error_can_be_caught_by_its_public_name():
    classes = [cls for cls in vars(errors).values() if isinstance(cls, type) and issubclass(cls, errors.ModelkeepError)]
    assert len(classes) > len(errors.BY_REASON)
    for cls in classes:
        assert getattr(modelkeep, cls.__name__) is cls


def test_the_public_modules_are_these():
    found = {module.name for module in pkgutil.iter_modules(modelkeep.__path__)}
    assert {name for name in found if not name.startswith("_")} == MODULES


@pytest.mark.parametrize(("name", "methods"), METHODS.items())
def test_what_users_call_is_there(name, methods):
    cls = getattr(modelkeep, name)
    instance_only = {"name"} if name == "Run" else set()
    assert {method for method in methods - instance_only if not hasattr(cls, method)} == set()


def test_what_is_not_there_is_an_attribute_error():
    for name in ("nosuch", "NoSuch", "Code", "DOMAIN", "rebuild"):
        with pytest.raises(AttributeError, match=name):
            getattr(modelkeep, name)


def test_importing_costs_little():
    """P15: a training script imports us before it knows whether it will log. What comes in is counted, not timed."""
    script = (
        "import sys, modelkeep; print(sorted({'grpc', 'google', 'rich', 'typer', 'urllib3', 'asyncio'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_the_sdk_never_brings_the_server_in():
    script = (
        "import sys, modelkeep, modelkeep.cli, modelkeep.testing; [getattr(modelkeep, name) for name in modelkeep.__all__]; "
    )
    script += "print(sorted({'modelkeep_server', 'sqlmodel', 'sqlalchemy', 'alembic'} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_modules_import_by_themselves():
    for name in MODULES:
        assert importlib.import_module(f"modelkeep.{name}")
