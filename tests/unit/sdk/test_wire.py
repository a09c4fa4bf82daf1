"""Texts that no message can hold are refused where they are said, by name."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import modelkeep
import pytest
from modelkeep._channel import Connection
from modelkeep._wire import require_text
from modelkeep.errors import InvalidArgument


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
