"""Where a server listens, and what it refuses to expose."""

import socket
from pathlib import Path

import pytest
from modelkeep_server.runtime.lifecycle import CannotStart
from modelkeep_server.runtime.listening import Address, refuse_exposure, refuse_taken, server_credentials
from modelkeep_server.runtime.settings import RuntimeSettings

from tests.unit.runtime.certificates import Authority

GOOD = {
    "127.0.0.1:7460": ("grpc://127.0.0.1:7460", True),
    "127.8.9.1:1": ("grpc://127.8.9.1:1", True),
    "localhost:0": ("grpc://localhost:0", True),
    "[::1]:80": ("grpc://[::1]:80", True),
    "unix:/run/mk.sock": ("unix:/run/mk.sock", True),
    "0.0.0.0:80": ("grpc://127.0.0.1:80", False),
    "[::]:80": ("grpc://[::1]:80", False),
    "10.0.0.1:80": ("grpc://10.0.0.1:80", False),
    "example.org:80": ("grpc://example.org:80", False),
}


@pytest.mark.parametrize("text", GOOD)
def test_addresses(text: str):
    address = Address.parse(text)
    assert (address.url(tls=False), address.is_local) == GOOD[text]
    assert str(address) == text


@pytest.mark.parametrize("text", ["", "7460", ":7460", "host", "host:", "host:x", "host:70000", "host:-1"])
def test_what_is_no_address_is_refused_with_the_right_form(text: str):
    with pytest.raises(CannotStart, match="host:port"):
        Address.parse(text)


@pytest.mark.peer("M-AUTHZ-2")
@pytest.mark.parametrize("text", GOOD)
def test_nothing_beyond_this_machine_listens_in_the_clear_unless_told(text: str):
    settings = RuntimeSettings(listen=text)
    if GOOD[text][1]:
        refuse_exposure(settings)
        return
    with pytest.raises(CannotStart, match="--insecure"):
        refuse_exposure(settings)
    refuse_exposure(settings.model_copy(update={"insecure": True}))
    refuse_exposure(settings.model_copy(update={"tls_certificate_file": Path("c"), "tls_key_file": Path("k")}))


@pytest.mark.parametrize("given", ["tls_certificate_file", "tls_key_file", "tls_client_ca_file"])
def test_half_of_tls_is_refused(given: str, tmp_path: Path):
    with pytest.raises(CannotStart, match="tls_"):
        server_credentials(RuntimeSettings(**{given: tmp_path / "x.pem"}))


def test_a_certificate_that_is_not_there_is_named(tmp_path: Path):
    settings = RuntimeSettings(tls_certificate_file=tmp_path / "gone.pem", tls_key_file=tmp_path / "key.pem")
    with pytest.raises(CannotStart, match=r"tls_key_file.*key\.pem"):
        server_credentials(settings)


@pytest.mark.parametrize("wrong", ["tls_certificate_file", "tls_key_file", "tls_client_ca_file"])
@pytest.mark.parametrize("content", [b"", b"no PEM"])
def test_a_file_of_tls_that_is_none_is_named(wrong: str, content: bytes, tmp_path: Path):
    """An empty list of authorities is none at all, not one that lets anybody in."""
    authority = Authority(tmp_path)
    certificate, key = authority.issue("server")
    files = {"tls_certificate_file": certificate, "tls_key_file": key, "tls_client_ca_file": authority.file}
    server_credentials(RuntimeSettings(**files))
    (tmp_path / "wrong.pem").write_bytes(content)
    with pytest.raises(CannotStart, match=rf"{wrong}.*wrong\.pem"):
        server_credentials(RuntimeSettings(**files | {wrong: tmp_path / "wrong.pem"}))


def test_a_key_of_another_certificate_is_refused(tmp_path: Path):
    authority = Authority(tmp_path)
    settings = RuntimeSettings(tls_certificate_file=authority.issue("a")[0], tls_key_file=authority.issue("b")[1])
    with pytest.raises(CannotStart, match="no pair"):
        server_credentials(settings)


def test_a_taken_address_is_told_apart_from_one_that_is_elsewhere():
    with socket.create_server(("127.0.0.1", 0)) as taken:
        address = Address("127.0.0.1", taken.getsockname()[1])
        with pytest.raises(CannotStart, match=r"in use.*--port"):
            refuse_taken(address)
    refuse_taken(address)
    with pytest.raises(CannotStart, match=r"192\.0\.2\.1:1234.*--listen"):
        refuse_taken(Address("192.0.2.1", 1234))
    with pytest.raises(CannotStart, match=r"no-such-host\.invalid"):
        refuse_taken(Address("no-such-host.invalid", 1234))
