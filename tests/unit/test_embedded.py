"""The whole suite in a thread, and the commands of `modelkeep-server`."""

from __future__ import annotations

import os
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from uuid import uuid4

import grpc
import pytest
import structlog
from modelkeep._status import from_rpc_error
from modelkeep.api.blob.v1 import blob_service_pb2 as blob_pb
from modelkeep.api.blob.v1 import blob_service_pb2_grpc as blob_rpc
from modelkeep.api.blob.v1.digest_pb2 import Digest
from modelkeep.api.metadata.v1 import metadata_service_pb2 as pb
from modelkeep.api.metadata.v1 import metadata_service_pb2_grpc as rpc
from modelkeep.api.metadata.v1.draft_pb2 import Draft
from modelkeep.api.metadata.v1.entry_pb2 import Entry, Segment
from modelkeep.errors import ApiKeyInvalid, ChunksMissing
from modelkeep_server import embedded
from modelkeep_server.main import main
from modelkeep_server.runtime import logs
from modelkeep_server.runtime.channels import Channels
from modelkeep_server.runtime.lifecycle import CannotStart
from modelkeep_server.runtime.server import Server
from modelkeep_server.settings import load

from tests.unit.runtime.certificates import Authority


@pytest.fixture(autouse=True)
def _logs_as_before() -> Iterator[None]:
    yield
    structlog.reset_defaults()


def authorized(channel: grpc.Channel, api_key: str) -> Any:
    token = rpc.MetadataServiceStub(channel).ExchangeApiKey(pb.ExchangeApiKeyRequest(secret=api_key), timeout=20).access_token
    return (("authorization", f"Bearer {token}"),)


def create_project(url: str, api_key: str) -> str:
    with grpc.insecure_channel(url.removeprefix("grpc://")) as channel:
        request = pb.CreateProjectRequest(parent="teams/default", project_id=f"p-{uuid4().hex}", request_id=str(uuid4()))
        metadata = authorized(channel, api_key)
        return rpc.MetadataServiceStub(channel).CreateProject(request, metadata=metadata, timeout=20).name


def projects(url: str, api_key: str) -> set[str]:
    with grpc.insecure_channel(url.removeprefix("grpc://")) as channel:
        request = pb.ListProjectsRequest(parent="teams/default", page_size=1000)
        answer = rpc.MetadataServiceStub(channel).ListProjects(request, metadata=authorized(channel, api_key), timeout=20)
        return {project.name for project in answer.projects}


def test_a_suite_in_a_thread_serves_all_services_and_stops(tmp_path: Path):
    running = embedded.start(data_dir=tmp_path / "data")
    with grpc.insecure_channel(running.url.removeprefix("grpc://")) as channel:
        metadata = authorized(channel, running.api_key)
        answer = blob_rpc.BlobServiceStub(channel).GetCapabilities(
            blob_pb.GetCapabilitiesRequest(), metadata=metadata, timeout=20
        )
    assert answer.max_chunk_bytes == 16 << 20
    running.stop()
    running.stop()
    assert not [thread for thread in threading.enumerate() if thread.name == "modelkeep"]


def test_services_reach_each_other_until_the_last_call_has_ended(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """R11: a call that is under way while the server drains may still need another service."""
    ends: list[str] = []
    drain, close = Server.drain, Channels.close

    async def drained(server: Server) -> None:
        await drain(server)
        ends.append("drained")

    async def closed(channels: Channels) -> None:
        ends.append("closed")
        await close(channels)

    monkeypatch.setattr(Server, "drain", drained)
    monkeypatch.setattr(Channels, "close", closed)
    embedded.start(data_dir=tmp_path / "data").stop()
    assert ends == ["drained", "closed"]


def test_what_was_written_is_there_after_the_next_start_and_the_old_key_is_not(tmp_path: Path):
    first = embedded.start(data_dir=tmp_path)
    name = create_project(first.url, first.api_key)
    first.stop()
    second = embedded.start(data_dir=tmp_path)
    try:
        assert name in projects(second.url, second.api_key)
        with pytest.raises(grpc.RpcError) as caught:
            projects(second.url, first.api_key)
        assert isinstance(from_rpc_error(caught.value), ApiKeyInvalid)
    finally:
        second.stop()


def test_two_suites_in_one_process_are_two(tmp_path: Path):
    first, second = embedded.start(data_dir=tmp_path / "1"), embedded.start(data_dir=tmp_path / "2")
    try:
        name = create_project(first.url, first.api_key)
        assert name in projects(first.url, first.api_key)
        assert name not in projects(second.url, second.api_key)
        with pytest.raises(CannotStart, match=f"process {os.getpid()} at {first.url}"):
            embedded.start(data_dir=tmp_path / "1")
    finally:
        first.stop()
        second.stop()


def test_a_suite_that_cannot_start_says_why_and_leaves_nothing_behind(tmp_path: Path):
    settings = load({"runtime": {"data_dir": tmp_path, "listen": "127.0.0.1:0", "metrics_port": 0}}).settings
    broken = settings.model_copy(update={"blob": settings.blob.model_copy(update={"store_url": "ftp://x"})})
    with pytest.raises(CannotStart, match="ftp"):
        embedded.start(broken)
    embedded.start(settings).stop()


def test_a_suite_with_tls_reaches_itself_without(tmp_path: Path):
    """Its certificate may name only the host that clients use; metadata asks blob over the loopback."""
    authority = Authority(tmp_path)
    certificate, key = authority.issue("server")
    tls = {"tls_certificate_file": certificate, "tls_key_file": key, "tls_client_ca_file": authority.file}
    settings = load({"runtime": {"data_dir": tmp_path / "d", "listen": "127.0.0.1:0", "metrics_port": 0, **tls}}, alone=True)
    running = embedded.start(settings.settings)
    try:
        files = [authority.file, *reversed(authority.issue("client"))]
        credentials = grpc.ssl_channel_credentials(*(file.read_bytes() for file in files))
        with grpc.secure_channel(running.url.removeprefix("grpcs://"), credentials) as channel:
            with pytest.raises(grpc.RpcError) as caught:
                commit_of_a_missing_chunk(channel, authorized(channel, running.api_key))
            assert isinstance(from_rpc_error(caught.value), ChunksMissing)
    finally:
        running.stop()


def commit_of_a_missing_chunk(channel: grpc.Channel, metadata: Any) -> None:
    stub, parent = rpc.MetadataServiceStub(channel), "teams/default/projects/p"
    wish = Draft(collection=f"{parent}/collections/c", type="model")
    request = pb.CreateDraftRequest(parent=parent, draft=wish, request_id=str(uuid4()))
    draft = stub.CreateDraft(request, metadata=metadata, timeout=20).name
    digest = Digest(sha256=bytes(32))
    entry = Entry(path="a", digest=digest, size_bytes=1, segments=[Segment(chunk=digest, length=1)])
    stub.AddEntries(iter([pb.AddEntriesRequest(draft=draft, entries=[entry])]), metadata=metadata, timeout=20)
    stub.CommitDraft(pb.CommitDraftRequest(name=draft), metadata=metadata, timeout=20)


@pytest.fixture
def run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Callable[..., tuple[int, str, str]]:
    """Runs `modelkeep-server` with some arguments, in an empty folder; gives exit code, output and errors."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(logs, "configure", lambda *_args, **_options: None)  # the logs of this process are pytest's

    def run(*arguments: str) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", ["modelkeep-server", *arguments])
        with pytest.raises(SystemExit) as ended:
            main()
        out, err = capsys.readouterr()
        code = ended.value.code
        return (code, out, err) if isinstance(code, int) else (1, out, f"{err}{code}\n")

    return run


def test_a_port_that_is_taken_is_one_clear_line(run, tmp_path: Path):
    running = embedded.start(data_dir=tmp_path / "first")
    port = running.url.rpartition(":")[2]
    code, _out, err = run("serve", "all", "--port", port, "--data", str(tmp_path / "second"))
    running.stop()
    assert code == 1
    assert err.splitlines()[-1].startswith(f"modelkeep-server: cannot listen on 127.0.0.1:{port}")
    assert "--port" in err


def test_a_server_that_may_not_listen_makes_nothing(run, tmp_path: Path):
    tls = ("--set", "runtime.tls_certificate_file=gone.pem", "--set", "runtime.tls_key_file=gone.pem")
    for options in ((), tls):
        assert run("serve", "all", "--listen", "0.0.0.0:0", *options)[0] == 1
        assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("option", ["--expires=1d", "--role=admin", "--readable-team=q", "--name=foo"])
def test_a_key_of_a_service_takes_no_option_of_the_keys_of_teams(run, option: str):
    code, out, err = run("api-key", "create", "--service", "lineage", option)
    assert (code, out, option.partition("=")[0] in err) == (2, "", True)


def test_a_key_that_would_have_ended_already_is_refused(run):
    code, out, err = run("api-key", "create", "--team", "vision", "--expires", "0s")
    assert (code, out, "'0s'" in err) == (2, "", True)


def test_one_service_needs_its_keys_and_tables_first(run):
    code, _out, err = run("serve", "metadata", "--port", "0")
    assert (code, "signing-key init" in err) == (1, True)
    assert run("signing-key", "init")[0] == 0
    code, _out, err = run("signing-key", "init")
    assert (code, "rotate" in err) == (1, True)
    assert run("signing-key", "rotate")[0] == 0
    assert run("migrate")[0] == 0
    code, out, _err = run("api-key", "create", "--team", "vision", "--role", "read", "--expires", "90d")
    assert (code, out[:3]) == (0, "mk_")
    assert run("api-key", "create", "--service", "lineage")[1].startswith("mk_")
    assert run("fsck", "--deep")[0] == 0


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["serve", "all", "--listen", "0.0.0.0:0"], "--insecure"),
        (["serve", "all", "--listen", "nowhere"], "host:port"),
        (["migrate", "blobs"], "no service 'blobs'"),
        (["fsck", "--set", "blob"], "section.name=value"),
        (["fsck", "--config", "gone.toml"], "gone.toml"),
        (["api-key", "create", "--team", "a/b"], "a/b"),
        (["signing-key", "rotate"], "signing-key init"),
        (["signing-key", "init", "--data", "/dev/null"], "/dev/null/signing-key.pem: "),
        (["migrate", "--data", "/dev/null"], "the folder /dev/null of the database: "),
        (["fsck"], "modelkeep-server migrate"),
        (["migrate", "--set", "blob.database_url=postgresql://u:pw@127.0.0.1:1/d"], "blob at postgresql://u:***@127.0.0.1:1/d"),
    ],
)
def test_what_is_wrong_is_one_clear_line(run, arguments: list[str], words: str):
    code, _out, err = run(*arguments)
    assert code == 1
    assert words in err
    assert err.startswith("modelkeep-server: ")


def test_what_the_system_refuses_is_one_line_too(run, monkeypatch: pytest.MonkeyPatch):
    def full() -> None:
        raise OSError(28, "No space left on device", "/data/x")

    monkeypatch.setattr("modelkeep_server.main.app", full)
    assert run("fsck") == (1, "", "modelkeep-server: /data/x: No space left on device\n")
