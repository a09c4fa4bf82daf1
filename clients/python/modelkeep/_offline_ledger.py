"""What a run tells about itself, offline: records in its journal, which `modelkeep sync` replays."""

from __future__ import annotations

import math
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, cast

from google.protobuf.json_format import MessageToDict
from google.protobuf.message import Message

from modelkeep._batch import Limits
from modelkeep._offline_words import require_words
from modelkeep.address import format_moment

if TYPE_CHECKING:
    from collections.abc import Iterable

    from modelkeep._batch import Batch
    from modelkeep._offline_journal import Journal
    from modelkeep._offline_version import OfflineVersion
    from modelkeep._version import Version


class OfflineLedger:
    """Writes into a journal; each record is on disk before its call returns."""

    def __init__(self, journal: Journal) -> None:
        self._journal = journal

    def limits(self) -> Limits:
        """What any server takes at once."""
        return Limits()

    def tell(self, part: Batch) -> None:
        """One record: of what was measured, or of what changed in the config."""
        if part.has_metrics:
            series = {key: [one.steps, one.values, one.times_micros] for key, one in part.series.items()}
            told = {"series": series, "definitions": part.definitions, "summary": part.summary}
            self._append("metrics", **{name: value for name, value in told.items() if value})
        else:
            self._append("config", changes=part.config, gone=sorted(part.config_gone))

    def beat(self) -> float:
        """Never: nobody listens."""
        return math.inf

    def edit(self, **fields: Any) -> None:
        """A record. Raises LimitExceeded, InvalidArgument."""
        require_words(**{name: value for name, value in fields.items() if isinstance(value, str)})
        self._append("edit", fields={name: as_json(value) for name, value in fields.items()})

    def edit_tags(self, add: Iterable[str], remove: Iterable[str]) -> tuple[str, ...] | None:
        """A record."""
        self._append("tags", add=list(add), remove=list(remove))
        return None

    def keep_code(self, version: Version) -> None:
        """A record that names the one which logged the code."""
        self._append("code", record=cast("OfflineVersion", version).record)

    def finish(self, state: str) -> None:
        """The last record."""
        self._append("finish", state=state)

    def _append(self, kind: str, **values: Any) -> None:
        self._journal.append(kind, time=format_moment(datetime.now(UTC)), **values)


def as_json(value: Any) -> Any:
    """A field of a run as a journal keeps it."""
    return MessageToDict(value, preserving_proto_field_name=True) if isinstance(value, Message) else value
