"""Following an alias, against the whole product: what a serving node sees while people log and promote."""

from __future__ import annotations

import os
from contextlib import ExitStack
from pathlib import Path

import modelkeep
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from modelkeep.api.metadata.v1 import metadata_service_pb2 as pb
from modelkeep.api.metadata.v1 import signature_pb2

from tests.contract.sdk import Content, artifact, read, some
from tests.servers import wait_until
from tests.suites import Suite

SECONDS = 120


@pytest.fixture
def api(suite: Suite, project: str, monkeypatch: pytest.MonkeyPatch) -> modelkeep.Api:
    """A client, and the environment in which `follow` finds the server too."""
    for name, value in suite.client(project).items():
        if name.startswith("MODELKEEP_"):
            monkeypatch.setenv(name, value)
    return modelkeep.Api()


def log(api: modelkeep.Api, tmp_path: Path, content: Content | None = None, *aliases: str) -> modelkeep.Version:
    folder = tmp_path / "source" / os.urandom(4).hex()
    return api.log_artifact(artifact(folder, content or {"weights": some(), "tok/vocab": some()}), aliases=aliases)


def follow(root: Path, address: str = "digits:production", **wishes: object) -> modelkeep.Follower:
    return modelkeep.follow(address, root=root, **({"spread_seconds": 0, "timeout_seconds": SECONDS} | wishes))  # type: ignore[arg-type]


def versions_in(root: Path) -> set[str]:
    return {path.name.partition("-")[0] for path in (root / "versions").iterdir() if path.is_dir()}


def test_what_the_alias_points_to_is_there_and_follows_it(api: modelkeep.Api, tmp_path: Path) -> None:
    contents = [{"weights": some(300_000), "tok/vocab": some()} for _ in range(3)]
    log(api, tmp_path, contents[0], "production")
    changes = []
    with follow(tmp_path / "root", on_change=lambda current: changes.append(current.version)) as current:
        assert (current.version, current.name, read(current.path)) == ("v0", "digits:v0", contents[0])
        assert read(current.link) == contents[0]
        for number in (1, 2):
            before, since = current.path, current.since
            version = log(api, tmp_path, contents[number], "production")
            assert current.wait(SECONDS)
            assert (current.version, current.digest) == (version.version, version.digest)
            assert read(current.path) == read(current.link) == contents[number]
            assert read(before) == contents[number - 1], "whoever still reads the version before can go on"
            assert current.since > since
        wait_until(lambda: versions_in(tmp_path / "root") == {"v1", "v2"}, "the removal of the oldest version", SECONDS)
        status = current.status()
        assert (status["ready"], status["behind"], status["stale"], status["errors"]) == (True, False, False, {})
        assert status["seen"] == {"seq": 3, "digest": current.digest, "version": "v2"}
        assert status["loaded"]["name"] == "digits:v2"
    assert changes == ["v0", "v1", "v2"]
    assert read(tmp_path / "root" / "current") == contents[2], "what is loaded stays when nobody follows any more"


def test_no_switch_is_missed_and_no_version_goes_while_it_is_read(api: modelkeep.Api, tmp_path: Path) -> None:
    log(api, tmp_path, None, "production")
    with follow(tmp_path / "root", keep=1) as current, current.reading() as path:
        before = read(path)
        for _ in range(2):
            log(api, tmp_path, None, "production")
        wait_until(lambda: current.version == "v2", "the last switch", SECONDS)
        assert current.wait(0), "there was a switch while nobody waited"
        assert not current.wait(0)
        assert read(path) == before


def test_latest_is_followed_through_a_delete_and_a_restore(api: modelkeep.Api, tmp_path: Path) -> None:
    log(api, tmp_path)
    with follow(tmp_path / "root", "digits") as current:
        second = log(api, tmp_path)
        assert current.wait(SECONDS)
        second.delete(delete_aliases=True)
        assert current.wait(SECONDS)
        assert current.version == "v0"
        api.restore("digits:v1")
        assert current.wait(SECONDS)
        assert (current.version, current.status()["errors"]) == ("v1", {})


def test_an_alias_may_come_later_and_go_again(api: modelkeep.Api, tmp_path: Path) -> None:
    log(api, tmp_path)
    with follow(tmp_path / "root", "digits:latest"):
        pass
    with pytest.raises(modelkeep.TargetUnusable, match="choose another folder"):
        follow(tmp_path / "root", "digits:production")
    waiting = follow(tmp_path / "new")
    waiting.start()
    wait_until(lambda: "alias" in waiting.status()["errors"], "the alias to be missed", SECONDS)
    assert not waiting.ready
    waiting.close()
    api.promote("digits:v0", "production")
    with follow(tmp_path / "new") as current:
        api.delete_alias("digits", "production")
        wait_until(lambda: "alias" in current.status()["errors"], "the loss of the alias", SECONDS)
        assert (current.version, read(current.link)) == ("v0", read(current.path))


def test_a_collection_that_is_not_there_or_is_renamed_is_told(api: modelkeep.Api, tmp_path: Path) -> None:
    with pytest.raises(modelkeep.NotFound), follow(tmp_path / "root"):
        pass
    log(api, tmp_path, None, "production")
    with follow(tmp_path / "root") as current:
        api.rename("digits", "numbers")
        wait_until(lambda: "watch" in current.status()["errors"], "the loss of the collection", SECONDS)
        status = current.status()
        assert status["errors"]["watch"]["reason"] == "COLLECTION_NOT_FOUND"
        assert "numbers" in status["errors"]["watch"]["message"]
        assert current.ready
        api.rename("numbers", "digits")
        wait_until(lambda: not current.status()["errors"], "the end of the trouble", SECONDS)


def test_many_nodes_hear_of_one_move(api: modelkeep.Api, tmp_path: Path) -> None:
    log(api, tmp_path, None, "production")
    with ExitStack() as stack:
        nodes = [stack.enter_context(follow(tmp_path / f"root-{number}")) for number in range(8)]
        content = {"weights": some(), "tok/vocab": some()}
        log(api, tmp_path, content, "production")
        assert all(node.wait(SECONDS) for node in nodes)
        assert [read(node.link) for node in nodes] == [content] * 8


@pytest.mark.peer("M-AUTHZ-1")
def test_a_key_that_may_not_read_follows_nothing(suite: Suite, api: modelkeep.Api, project: str, tmp_path: Path) -> None:
    log(api, tmp_path, None, "production")
    stranger = modelkeep.Api(suite.url, suite.key("follow-strangers"))
    with (
        pytest.raises(modelkeep.PermissionDenied),
        follow(tmp_path / "root", f"{api.team}/{project}/digits:production", api=stranger),
    ):
        pass


def test_signatures_are_kept_listed_and_required(api: modelkeep.Api, tmp_path: Path) -> None:
    mine, other = Ed25519PrivateKey.generate(), Ed25519PrivateKey.generate()
    version = log(api, tmp_path, {"weights": some(300_000)}, "production")
    with pytest.raises(modelkeep.SignatureMissing, match="nobody signed it"):
        version.download(tmp_path / "out", require_signature=mine.public_key())
    assert not (tmp_path / "out").exists()
    signature = version.sign(mine, comment="eval 142")
    assert version.sign(mine) == signature
    version.sign(other)
    listed = list(api.artifact("digits").signatures())
    assert [(one.key_id, one.comment) for one in listed] == [(signature.key_id, "eval 142"), (listed[1].key_id, "")]
    assert api.artifact("digits").verify_signature([mine.public_key()]) == signature
    version.download(tmp_path / "out", require_signature=mine.public_key())
    version.verify(tmp_path / "out")
    with pytest.raises(modelkeep.SignatureInvalid, match="does not fit"):
        log(api, tmp_path)._connection.metadata.AddSignature(_stolen(api, signature))
    with follow(tmp_path / "root", require_signature=[other.public_key()]) as current:
        log(api, tmp_path, None, "production")
        wait_until(lambda: "load" in current.status()["errors"], "the missing signature", SECONDS)
        assert (current.version, current.status()["errors"]["load"]["reason"]) == ("v0", "SIGNATURE_MISSING")


def _stolen(api: modelkeep.Api, signature: modelkeep.Signature) -> pb.AddSignatureRequest:
    """The signature of v0, for v1."""
    request = pb.AddSignatureRequest(parent=api.artifact("digits:v1").resource_name)
    request.signature.algorithm = signature_pb2.SIGNATURE_ALGORITHM_ED25519
    request.signature.public_key, request.signature.value = signature.public_key, signature.value
    return request
