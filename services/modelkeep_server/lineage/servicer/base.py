"""What all parts of the servicer share: the use cases, and how a call is read."""

from __future__ import annotations

from dataclasses import dataclass

from google.protobuf.message import Message

from modelkeep_server.lineage.app.best import BestApp
from modelkeep_server.lineage.app.graph import GraphApp
from modelkeep_server.lineage.app.metric import MetricApp
from modelkeep_server.lineage.app.run import RunApp
from modelkeep_server.lineage.domain.limits import Limits
from modelkeep_server.runtime.callers import current
from modelkeep_server.runtime.calls import Call
from modelkeep_server.runtime.messages import call_from_pb


@dataclass(frozen=True, slots=True)
class Apps:
    """All use cases of the service, by noun."""

    limits: Limits
    runs: RunApp
    metrics: MetricApp
    best: BestApp
    graph: GraphApp


class Part:
    """Some RPCs of a service."""

    def __init__(self, apps: Apps) -> None:
        self._apps = apps


def call(request: Message) -> Call:
    """The call that is being served, which writes. Raises InvalidArgument."""
    return call_from_pb(request, current())
