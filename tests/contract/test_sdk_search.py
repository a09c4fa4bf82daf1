"""Search through the SDK, in every topology: filters, orders, all collections and all projects, errors that point."""

from __future__ import annotations

from pathlib import Path
from uuid import uuid4

import modelkeep
import pytest
from modelkeep.api.metadata.v1 import metadata_service_pb2 as pb

from tests.contract.sdk import artifact, some
from tests.suites import Suite


@pytest.fixture
def api(client_env: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> modelkeep.Api:
    """A client of a project of its own."""
    for name in [name for name in client_env if name.startswith("MODELKEEP_")]:
        monkeypatch.setenv(name, client_env[name])
    return modelkeep.Api()


def log(api: modelkeep.Api, folder: Path, name: str, type_: str = "model", **how: object) -> modelkeep.Version:
    labels = {key: how.pop(key) for key in ("aliases", "tags") if key in how}
    made = artifact(folder / uuid4().hex, {"f": some()}, name, type_, **how)
    return api.log_artifact(made, **labels)  # type: ignore[arg-type]


def names(found: object) -> list[str]:
    return [version.name for version in found]  # type: ignore[attr-defined]


def test_versions_are_found_and_sorted(api: modelkeep.Api, tmp_path: Path) -> None:
    for acc in (0.95, 0.5, 0.97, None):
        log(api, tmp_path, "net", metadata={} if acc is None else {"acc": acc}, aliases=["best"] if acc == 0.95 else [])
    assert names(api.versions("net", filter="metadata.acc > 0.9 AND NOT alias:best", order="-metadata.acc")) == ["net:v2"]
    assert names(api.versions("net", order="metadata.acc")) == ["net:v1", "net:v0", "net:v2", "net:v3"]
    assert names(api.versions("net", filter="NOT metadata.acc:*")) == ["net:v3"]
    api.artifact("net:v3").edit(metadata={"acc": 0.99})
    assert names(api.versions("net", filter="metadata.acc > 0.9", order="-metadata.acc")) == ["net:v3", "net:v2", "net:v0"]
    api.artifact("net:v3").delete()
    assert names(api.versions("net", filter="metadata.acc > 0.98")) == []
    assert names(api.versions("net", filter="metadata.acc > 0.98", show_deleted=True)) == ["net:v3"]
    with pytest.raises(modelkeep.CollectionNotFound):
        list(api.versions("none", filter="metadata.acc > 0.98"))


def test_all_collections_and_all_projects_are_searched(api: modelkeep.Api, project: str, tmp_path: Path) -> None:
    tag = f"t{uuid4().hex}"
    log(api, tmp_path, "net", tags=[tag], metadata={"n": 1})
    log(api, tmp_path, "data", "dataset", tags=[tag], metadata={"n": 2})
    other = modelkeep.Api(project=f"{project}-2")
    log(other, tmp_path, "net", tags=[tag], metadata={"n": 3})
    assert names(api.versions("-", filter=f"tag:{tag}", order="metadata.n")) == ["net:v0", "data:v0"]
    found = list(api.search(f"tag:{tag}", order="-metadata.n"))
    assert [(version.project, version.name) for version in found] == [
        (f"{project}-2", "net:v0"),
        (project, "data:v0"),
        (project, "net:v0"),
    ]
    assert names(api.search(f"tag:{tag} type = dataset")) == ["data:v0"]
    assert [v.project for v in api.search(f"tag:{tag}", project=f"{project}-2")] == [f"{project}-2"]
    assert [v.name for v in api.versions("-/net", filter=f"tag:{tag}")] == ["net:v0", "net:v0"]
    assert [c.name for c in api.collections(filter="type != model")] == ["data"]
    assert [c.name for c in api.collections(order="-create_time")] == ["data", "net"]
    mine = f'project = "{project}*" AND name = net'
    assert [c.resource_name.split("/")[3] for c in api.collections("-", filter=mine)] == [project, f"{project}-2"]
    with pytest.raises(modelkeep.ProjectNotFound):
        list(api.search(project=f"{project}-3"))


def test_other_teams_are_not_searched(api: modelkeep.Api, suite: Suite, tmp_path: Path) -> None:
    tag = f"t{uuid4().hex}"
    version = log(api, tmp_path, "net", tags=[tag])
    team = f"team-{uuid4().hex[:8]}"
    stranger = modelkeep.Api(api_key=suite.key(team), team=team)
    assert names(stranger.search(f"tag:{tag}")) == []
    nosy = modelkeep.Api(api_key=suite.key(team), team=version.team)
    for found in (nosy.search(f"tag:{tag}"), nosy.versions("-"), nosy.collections("-")):
        with pytest.raises(modelkeep.PermissionDenied):
            list(found)  # type: ignore[call-overload]
    reader = modelkeep.Api(api_key=suite.key(team, "read", readable_teams=(version.team,)), team=version.team)
    assert names(reader.search(f"tag:{tag}")) == ["net:v0"]


def test_pages_of_a_search(api: modelkeep.Api, tmp_path: Path) -> None:
    """SEM-53: a token belongs to one search."""
    for number in range(5):
        log(api, tmp_path, "net", metadata={"n": number % 3})
    stub = api._connection.metadata
    parent = f"{api._connection.project}/collections/-"
    asked = {"parent": parent, "page_size": 2, "filter": "metadata.n:*", "order_by": "-metadata.n, create_time"}
    seen, token = [], ""
    while not seen or token:
        page = stub.ListVersions(pb.ListVersionsRequest(**asked, page_token=token))  # type: ignore[arg-type]
        assert len(page.versions) <= 2
        seen += [version.name.rpartition("/")[2] for version in page.versions]
        token = page.next_page_token
        if token:
            with pytest.raises(modelkeep.InvalidPageToken):
                stub.ListVersions(pb.ListVersionsRequest(**asked | {"filter": ""}, page_token=token))  # type: ignore[arg-type]
    assert seen == ["v2", "v1", "v4", "v0", "v3"]


def test_errors_point_at_the_character(api: modelkeep.Api) -> None:
    with pytest.raises(modelkeep.InvalidFilter) as raised:
        list(api.versions("net", filter="metdata.acc > 0.9"))
    assert raised.value.metadata["nearest"] == "metadata"
    assert raised.value.message.endswith("\n  metdata.acc > 0.9\n  ^")
    with pytest.raises(modelkeep.InvalidFilter) as raised:
        list(api.collections(order="name, siz"))
    assert (raised.value.metadata["field"], raised.value.metadata["position"]) == ("order_by", "6")
    for bomb in ("(" * 4000, "a" * 1_000_000, "used " * 800):
        with pytest.raises(modelkeep.InvalidFilter):
            list(api.search(bomb))
