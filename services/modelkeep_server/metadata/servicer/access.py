"""What each RPC needs, as its comment in the contract says. An RPC without a line here keeps the server from starting."""

from __future__ import annotations

from typing import Final

from modelkeep_server.runtime.callers import Access

_SERVICE: Final = "/modelkeep.api.metadata.v1.MetadataService/"
_MAINTENANCE: Final = "/modelkeep.api.metadata.v1.MetadataMaintenanceService/"

_NEEDS: Final = {
    Access.ANONYMOUS: ("ExchangeApiKey",),
    Access.ANY: ("GetCapabilities", "ListTeams"),
    Access.READ: (
        "GetTeam",
        "GetProject",
        "ListProjects",
        "GetCollection",
        "ListCollections",
        "ListCollectionHistory",
        "GetDraft",
        "ListDrafts",
        "Resolve",
        "GetVersion",
        "ListVersions",
        "ListEntries",
        "StreamEntries",
        "GetAlias",
        "ListAliases",
        "ListAliasHistory",
        "ListAliasRules",
        "WatchAlias",
        "ListSignatures",
        "ListEvents",
    ),
    Access.WRITE: (
        "CreateProject",
        "UpdateProject",
        "CreateCollection",
        "UpdateCollection",
        "RenameCollection",
        "MoveCollection",
        "CreateDraft",  # on that of the base it asks for READ, and so do the next three
        "AddEntries",
        "RemoveEntries",
        "CommitDraft",
        "AbortDraft",
        "CopyVersion",  # on the team of the parent; on that of the source it asks for READ
        "UpdateVersion",
        "EditTags",
        "DeleteVersion",
        "RestoreVersion",
        "MoveAliases",
        "SetAliasRule",
        "DeleteAliasRule",
        "AddSignature",
        "RecordUse",  # on the team of the run; on that of the version it asks for READ
    ),
    Access.ADMIN: ("CreateApiKey", "ListApiKeys", "RevokeApiKey"),
}

WATCHES: Final = frozenset({_SERVICE + "WatchAlias"})
"""The RPCs that mostly wait."""

ACCESS: Final = {_SERVICE + rpc: access for access, rpcs in _NEEDS.items() for rpc in rpcs} | {
    _MAINTENANCE + "ListEventHeads": Access.SERVICE
}
