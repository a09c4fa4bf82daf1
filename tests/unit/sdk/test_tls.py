"""TLS and mutual TLS: the server is checked by the authorities of the settings, and the client by its own certificate."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent import futures
from datetime import UTC, datetime, timedelta
from pathlib import Path

import grpc
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from modelkeep._channel import Connection
from modelkeep.api.metadata.v1 import metadata_service_pb2 as pb
from modelkeep.api.metadata.v1 import metadata_service_pb2_grpc as rpc
from modelkeep.config import Config
from modelkeep.errors import InvalidArgument, ServiceUnavailable

from tests.unit.sdk.wire import Calls, Metadata

TEAM = pb.GetTeamRequest(name="teams/t")


class Authority:
    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.key = ec.generate_private_key(ec.SECP256R1())
        self.name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "authority")])
        self.file = folder / "ca.pem"
        self.file.write_bytes(self._certificate(self.name, self.key.public_key(), authority=True))

    def issue(self, name: str) -> tuple[Path, Path]:
        key = ec.generate_private_key(ec.SECP256R1())
        subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
        certificate, private = self.folder / f"{name}.pem", self.folder / f"{name}.key"
        certificate.write_bytes(self._certificate(subject, key.public_key(), authority=False))
        encoding, form = serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8
        private.write_bytes(key.private_bytes(encoding, form, serialization.NoEncryption()))
        return certificate, private

    def _certificate(self, subject: x509.Name, key: ec.EllipticCurvePublicKey, *, authority: bool) -> bytes:
        now = datetime.now(UTC)
        builder = x509.CertificateBuilder().subject_name(subject).issuer_name(self.name).public_key(key)
        builder = builder.serial_number(x509.random_serial_number()).not_valid_before(now - timedelta(days=1))
        builder = builder.not_valid_after(now + timedelta(days=1))
        builder = builder.add_extension(x509.BasicConstraints(ca=authority, path_length=None), critical=True)
        builder = builder.add_extension(x509.SubjectAlternativeName([x509.DNSName("localhost")]), critical=False)
        return builder.sign(self.key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM)


@pytest.fixture
def authority(tmp_path: Path) -> Authority:
    return Authority(tmp_path)


@pytest.fixture
def url(authority: Authority) -> Iterator[str]:
    """A server that asks for a certificate of the same authority."""
    certificate, key = authority.issue("server")
    pair = [(key.read_bytes(), certificate.read_bytes())]
    credentials = grpc.ssl_server_credentials(pair, authority.file.read_bytes(), require_client_auth=True)
    server = grpc.server(futures.ThreadPoolExecutor(4))
    rpc.add_MetadataServiceServicer_to_server(Metadata(Calls()), server)
    port = server.add_secure_port("localhost:0", credentials)
    server.start()
    yield f"grpcs://localhost:{port}"
    server.stop(None).wait()


@pytest.fixture(autouse=True)
def _impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("modelkeep._channel.FIRST_CONTACT_SECONDS", 0.0)


def test_both_sides_show_their_certificates(authority: Authority, url: str) -> None:
    certificate, key = authority.issue("client")
    config = Config(url, "mk_key", ca_file=str(authority.file), cert_file=str(certificate), key_file=str(key))
    connection = Connection(config)
    assert connection.metadata.GetTeam(TEAM).name == "teams/t"
    connection.close_channels()


def test_a_server_of_an_unknown_authority_gets_no_key(url: str) -> None:
    with pytest.raises(ServiceUnavailable, match="cannot be reached"):
        Connection(Config(url, "mk_key")).metadata.GetTeam(TEAM)


def test_a_client_without_a_certificate_is_refused(authority: Authority, url: str) -> None:
    with pytest.raises(ServiceUnavailable):
        Connection(Config(url, "mk_key", ca_file=str(authority.file))).metadata.GetTeam(TEAM)


def test_files_that_are_missing_are_named(url: str) -> None:
    with pytest.raises(InvalidArgument, match=r"/nowhere/ca\.pem"):
        Connection(Config(url, "mk_key", ca_file="/nowhere/ca.pem")).metadata.GetTeam(TEAM)
    with pytest.raises(InvalidArgument, match="together"):
        Config(url, "mk_key", cert_file="x")
