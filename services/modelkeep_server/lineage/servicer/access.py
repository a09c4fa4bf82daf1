"""What each RPC needs, as its comment in the contract says. An RPC without a line here keeps the server from starting."""

from __future__ import annotations

from typing import Final

from modelkeep_server.runtime.callers import Access

_SERVICE: Final = "/modelkeep.api.lineage.v1.LineageService/"

_NEEDS: Final = {
    Access.ANY: ("GetCapabilities",),
    Access.READ: (
        "GetRun",
        "ListRuns",
        "GetBestRun",
        "ListMetrics",
        "ListMetricPoints",
        "ListNeighbors",
        "StreamLineage",
        "ListGroupNodes",
        "StreamPaths",
        "ListCommonAncestors",
        "GetImpact",
    ),
    Access.WRITE: (
        "CreateRun",
        "UpdateRun",
        "EditRunTags",
        "Heartbeat",
        "LogMetrics",
        "FinishRun",
        "ResumeRun",
        "DeleteRun",
    ),
}

ACCESS: Final = {_SERVICE + rpc: access for access, rpcs in _NEEDS.items() for rpc in rpcs}
