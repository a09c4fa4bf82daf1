"""Texts that no message can hold are refused where they are said, by name."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import modelkeep
import pytest
from modelkeep._channel import Connection
from modelkeep._draft import Draft
from modelkeep._metric import Metric
from modelkeep._recorded_run import RecordedRun
from modelkeep._signing import Signature
from modelkeep._version import Version
from modelkeep._wire import require_text
from modelkeep.api.lineage.v1 import run_pb2
from modelkeep.api.metadata.v1 import draft_pb2, signature_pb2, version_pb2
from modelkeep.errors import InvalidArgument

PROJECT = "teams/t/projects/p"
NEWER: Any = 77
"""What only a newer server knows."""


def test_what_is_text_passes() -> None:
    require_text(filter="ü \U0001f600", order="", alias=None)


@pytest.mark.parametrize(
    ("field", "ask"),
    [
        ("filter", lambda api: api.versions("m", filter='name = "\udcff"')),
        ("order", lambda api: api.versions("m", order="\udcff")),
        ("filter", lambda api: api.search("\ud800")),
        ("filter", lambda api: api.collections(filter="\udcff")),
        ("alias", lambda api: api.history("m", "\udcff")),
        ("reason", lambda api: api.delete_alias("m", "best", reason="\udcff")),
        ("filter", lambda api: api.runs(filter="\udcff")),
        ("metric", lambda api: api.best_run("\udcff")),
        ("notes", lambda api: api.log_artifact(modelkeep.Artifact("m", "model", notes="\udcff"))),
    ],
)
def test_what_is_none_is_told_by_name(connection: Connection, field: str, ask: Callable[[modelkeep.Api], Any]) -> None:
    api = modelkeep.Api(url=connection.config.url, api_key="mk_key", team="t", project="p")
    with pytest.raises(InvalidArgument, match=rf"{field}: .*\\ud.* is not text") as raised:
        ask(api)
    assert raised.value.metadata["field"] == field
    raised.value.message.encode()


@pytest.mark.parametrize(
    ("read", "known", "newer"),
    [
        (
            lambda state, to: (
                Version.from_pb(version_pb2.Version(name=f"{PROJECT}/collections/m/versions/v0", state=state), to).state
            ),
            ("COMMITTED", version_pb2.VERSION_STATE_COMMITTED),
            "UNKNOWN_77",
        ),
        (lambda state, to: Draft(draft_pb2.Draft(state=state), to).state, ("OPEN", draft_pb2.DRAFT_STATE_OPEN), "UNKNOWN_77"),
        (
            lambda state, to: RecordedRun.from_pb(run_pb2.Run(name=f"{PROJECT}/runs/r", state=state), to).state,
            ("RUNNING", run_pb2.RUN_STATE_RUNNING),
            "UNKNOWN_77",
        ),
        (
            lambda kind, _: Metric.from_pb(run_pb2.Metric(summary=kind)).summary,
            ("max", run_pb2.METRIC_SUMMARY_MAX),
            "unknown_77",
        ),
        (
            lambda kind, _: Signature.from_pb(signature_pb2.Signature(algorithm=kind)).algorithm,
            ("ED25519", signature_pb2.SIGNATURE_ALGORITHM_ED25519),
            "UNKNOWN_77",
        ),
    ],
)
def test_a_value_of_tomorrow_is_shown_by_its_number(
    connection: Connection, read: Callable[[Any, Connection], str], known: tuple[str, Any], newer: str
) -> None:
    assert read(known[1], connection) == known[0]
    assert read(NEWER, connection) == newer
