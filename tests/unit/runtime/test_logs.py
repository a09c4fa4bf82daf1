"""What is logged, and what never is (M-SEC-1)."""

import io
import json
import logging
from collections.abc import Iterator
from typing import Any

import pytest
import structlog
from modelkeep_server.runtime import callers, logs
from modelkeep_server.runtime.callers import Caller
from modelkeep_server.runtime.settings import RuntimeSettings

CANARY = "c4n4ry-Sw0rdfish_0123456789"
KEY = "mk_abcd1234_" + "K" * 43 + "123456"
JWT = "eyJhbGciOiJFZERTQSIsImtpZCI6IjEifQ.eyJzdWIiOiJ4In0.c2lnbmF0dXJl-Canary_1"
PEM = "-----BEGIN PRIVATE KEY-----\nMC4CAQAwBQYDK2VwBCIEIC4n4ry\n-----END PRIVATE KEY-----"
FORMS = {
    "API key": (f"the key {KEY} is wrong", KEY.split("_")[2]),
    "access token": (f"token {JWT}", "eyJzdWIi"),
    "bearer": ("Authorization: Bearer abc.def-canary", "abc.def-canary"),
    "URL password": ("postgresql+asyncpg://user:hunter2canary@db/x?y", "hunter2canary"),
    "URL password with a colon": ("s3://id:a:%2Fc4n4ry@host", "c4n4ry"),
    "signature": ("GET https://s/b?X-Amz-Algorithm=A&X-Amz-Signature=deadbeefcanary&x=1", "deadbeefcanary"),
    "credential": ("https://s/b?X-Amz-Credential=AKIAcanary%2F2026&x", "AKIAcanary"),
    "encoded signature": ("url=https%3A%2F%2Fs%3FX-Amz-Signature%3Ddeadbeefcanary", "deadbeefcanary"),
    "session token": ("?X-Amz-Security-Token=FwoGcanary", "FwoGcanary"),
    "SAS": ("https://blob/x?sv=1&sig=canarysig%3D", "canarysig"),
    "private key": (PEM, "MC4CAQ"),
    "private key in JSON": (json.dumps({"pem": PEM}), "MC4CAQ"),
    "half a private key": (PEM[:50], "MC4CAQ"),
}


@pytest.fixture(autouse=True)
def _restored() -> Iterator[None]:
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    yield
    root.handlers[:], root.level = handlers, level
    structlog.reset_defaults()


def configured(log_format: str = "json", **settings: Any) -> io.StringIO:
    stream = io.StringIO()
    logs.configure(RuntimeSettings(log_format=log_format, **settings), secrets=[CANARY, 'quo"ted\\canary'], stream=stream)
    return stream


@pytest.mark.peer("M-SEC-1")
@pytest.mark.parametrize(("text", "secret"), FORMS.values(), ids=FORMS)
def test_secrets_are_hidden_by_their_form(text: str, secret: str):
    hidden = logs.Hiding()(text)
    assert secret not in hidden
    assert logs.HIDDEN in hidden


@pytest.mark.parametrize("text", ["sha256:" + "a" * 64, "page_size=50", "/modelkeep.api.blob.v1.BlobService/Write", "10:30:00"])
def test_what_is_no_secret_stays(text: str):
    assert logs.Hiding()(text) == text


@pytest.mark.peer("M-SEC-1")
@pytest.mark.parametrize("log_format", ["json", "console"])
def test_a_canary_in_every_slot_never_reaches_the_log(log_format: str):
    stream = configured(log_format)
    log = structlog.get_logger()
    log.info(f"in the event {CANARY}", field=CANARY, nested={"a": [CANARY]}, password="any words", key=KEY)  # noqa: G004
    log.warning("quoted", text='quo"ted\\canary')
    try:
        raise ValueError(f"in an exception {CANARY} {JWT} {PEM}")  # noqa: TRY301
    except ValueError:
        secret_local = CANARY
        log.exception("failed", local=len(secret_local))
        logging.getLogger("some.library").exception("of a library %s", CANARY)
    logging.getLogger("urllib3").warning("GET https://s/b?X-Amz-Signature=deadbeefcanary HTTP/1.1")
    written = stream.getvalue()
    assert written.count("\n") >= 5
    for secret in (CANARY, "ted\\", "any words", "K" * 43, JWT, "MC4CAQ", "deadbeef"):
        assert secret not in written, secret


def test_lines_are_json_with_the_call_that_is_served():
    stream = configured()
    callers.enter(Caller("teams/t/apiKeys/k", "t", request_id="r-1"))
    structlog.get_logger().info("call", code="OK")
    logging.getLogger("x").warning("from %s", "elsewhere")
    first, second = map(json.loads, stream.getvalue().splitlines())
    assert first.pop("timestamp").endswith("Z")
    assert first == {"event": "call", "level": "info", "code": "OK", "request_id": "r-1", "actor": "teams/t/apiKeys/k"}
    assert (second["event"], second["level"], second["logger"], second["request_id"]) == (
        "from elsewhere",
        "warning",
        "x",
        "r-1",
    )


def test_a_traceback_is_in_the_line_of_its_event():
    stream = configured()
    try:
        1 / 0  # noqa: B018
    except ZeroDivisionError:
        structlog.get_logger().exception("failed")
    (line,) = map(json.loads, stream.getvalue().splitlines())
    assert "ZeroDivisionError" in line["exception"]


def test_levels_below_the_setting_are_not_written():
    stream = configured(log_level="warning")
    structlog.get_logger().info("quiet")
    structlog.get_logger().warning("loud")
    assert [json.loads(line)["event"] for line in stream.getvalue().splitlines()] == ["loud"]
