"""The best run on the wire."""

from __future__ import annotations

from modelkeep.api.lineage.v1 import lineage_service_pb2 as pb

from modelkeep_server.lineage.convert.graph import link_to_pb
from modelkeep_server.lineage.convert.run import run_to_pb
from modelkeep_server.lineage.domain.best import Best


def best_to_pb(best: Best) -> pb.GetBestRunResponse:
    """The run, the number, and what it produced."""
    return pb.GetBestRunResponse(run=run_to_pb(best.run), value=best.value, produced=map(link_to_pb, best.produced))
