"""Services as processes that trust nobody by default: mutual TLS on every wire, and signing keys that change while they run."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import grpc
import pytest
from modelkeep._status import from_rpc_error
from modelkeep.api.blob.v1 import blob_service_pb2 as blob_pb
from modelkeep.api.blob.v1 import blob_service_pb2_grpc as blob_rpc
from modelkeep.api.metadata.v1 import metadata_service_pb2 as pb
from modelkeep.api.metadata.v1 import metadata_service_pb2_grpc as rpc
from modelkeep.errors import AccessTokenInvalid
from modelkeep_server.runtime.callers import Role
from modelkeep_server.runtime.tokens import Claims, Signer

from tests.e2e.conftest import Cli
from tests.servers import START_SECONDS, free_port, wait_until
from tests.suites import SERVER, clean_environment
from tests.unit.runtime.certificates import Authority


class Services:
    """blob and metadata, a process each, on SQLite and a folder; each can be ended and started again."""

    def __init__(self, folder: Path, **settings: str) -> None:
        self.folder = folder
        self.ports = {"blob": free_port(), "metadata": free_port()}
        self._env = clean_environment(
            MODELKEEP_CONFIG_HOME=str(folder / "config"),
            MODELKEEP_RUNTIME__DATA_DIR=str(folder / "data"),
            MODELKEEP_RUNTIME__METRICS_PORT="0",
            **settings,
        )

    def url(self, name: str, scheme: str = "grpc") -> str:
        return f"{scheme}://127.0.0.1:{self.ports[name]}"

    def run(self, *arguments: str) -> str:
        """What a command of the operator says."""
        command = [SERVER, *arguments]
        return subprocess.run(command, env=self._env, check=True, capture_output=True, text=True, timeout=START_SECONDS).stdout

    @contextmanager
    def serving(self, name: str, **settings: str) -> Iterator[None]:
        log = self.folder / f"{name}.log"
        command = [SERVER, "serve", name, "--port", str(self.ports[name])]
        with log.open("wb") as sink:
            process = subprocess.Popen(command, env=self._env | settings, stdout=sink, stderr=sink)
        try:
            wait_until(lambda: process.poll() is not None or '"serving"' in log.read_text(), f"the start of {name}")
            assert process.poll() is None, log.read_text()
            yield
        finally:
            process.terminate()
            process.wait(START_SECONDS)


def test_mutual_tls_between_client_and_services_and_among_services(tmp_path: Path):
    """Without a certificate of the authority nobody gets a word, not even a service."""
    authority = Authority(tmp_path)
    certificate, key = map(str, authority.issue("server"))
    mine, my_key = map(str, authority.issue("client"))
    ca = str(authority.file)
    services = Services(
        tmp_path,
        MODELKEEP_RUNTIME__TLS_CERTIFICATE_FILE=certificate,
        MODELKEEP_RUNTIME__TLS_KEY_FILE=key,
        MODELKEEP_RUNTIME__TLS_CLIENT_CA_FILE=ca,
        MODELKEEP_RUNTIME__TLS_CA_FILE=ca,
    )
    peer = {"MODELKEEP_RUNTIME__BLOB_URL": services.url("blob", "grpcs")}
    services.run("signing-key", "init")
    services.run("migrate")
    client = clean_environment(
        MODELKEEP_CONFIG_HOME=str(tmp_path / "home"),
        MODELKEEP_CACHE_DIR=str(tmp_path / "cache"),
        MODELKEEP_URL=services.url("metadata", "grpcs"),
        MODELKEEP_BLOB_URL=services.url("blob", "grpcs"),
        MODELKEEP_API_KEY=services.run("api-key", "create", "--team", "default").strip(),
        MODELKEEP_CA_FILE=ca,
    )
    cli = Cli(client, tmp_path)
    (tmp_path / "src").mkdir()
    (tmp_path / "src" / "w").write_bytes(b"the weights")
    with ExitStack() as stack:
        stack.enter_context(services.serving("blob"))
        stack.enter_context(services.serving("metadata", **peer))
        shown = {"MODELKEEP_CERT_FILE": mine, "MODELKEEP_KEY_FILE": my_key}
        assert cli("put", "src", "--name", "m", "--type", "model", **shown).code == 0
        assert cli("get", "m:latest", "out", **shown).code == 0
        assert (tmp_path / "out" / "w").read_bytes() == b"the weights"
        refused = cli("ls")
        assert (refused.code, "MODELKEEP_CERT_FILE" in refused.err) == (5, True), refused.err


def test_a_rotation_of_the_signing_key_refuses_nobody(tmp_path: Path):
    """First every service learns the new public key, then metadata signs with it: at each step every living token is good."""
    services = Services(tmp_path)
    services.run("signing-key", "init")
    services.run("migrate")
    secret = services.run("api-key", "create", "--team", "default").strip()
    first = signature(tmp_path)
    services.run("signing-key", "rotate")
    with services.serving("blob"):
        blob_takes(services, first)
        blob_takes(services, signature(tmp_path))
        with (
            services.serving("metadata", MODELKEEP_RUNTIME__BLOB_URL=services.url("blob")),
            grpc.insecure_channel(f"127.0.0.1:{services.ports['metadata']}") as channel,
        ):
            stub = rpc.MetadataServiceStub(channel)
            blob_takes(services, stub.ExchangeApiKey(pb.ExchangeApiKeyRequest(secret=secret), timeout=60).access_token)
    services.run("signing-key", "rotate")
    with services.serving("blob"):
        blob_takes(services, signature(tmp_path))
        with pytest.raises(grpc.RpcError) as caught:
            blob_takes(services, first)
    assert isinstance(from_rpc_error(caught.value), AccessTokenInvalid), "rotated twice, the first key is gone"


def signature(folder: Path) -> str:
    """A token signed with the private key of now; it lives longer than any restart on a busy machine takes."""
    signer = Signer((folder / "data" / "signing-key.pem").read_bytes(), lifetime_seconds=3600)
    return signer.sign(Claims("teams/default/apiKeys/test", "default", Role.READ))


def blob_takes(services: Services, bearer: str) -> None:
    with grpc.insecure_channel(f"127.0.0.1:{services.ports['blob']}") as channel:
        metadata = (("authorization", f"Bearer {bearer}"),)
        blob_rpc.BlobServiceStub(channel).GetCapabilities(blob_pb.GetCapabilitiesRequest(), metadata=metadata, timeout=60)
