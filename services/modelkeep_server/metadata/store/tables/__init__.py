"""The tables of the metadata service.

Times are microseconds by the database's clock. Internal ids never leave the store. A row that must outlive its meaning stays:
an alias that was deleted keeps its row, so that `seq` never falls (SEM-16); a deleted version keeps its tombstone (SEM-40).
"""

from __future__ import annotations

from modelkeep_server.metadata.store.tables.alias import AliasChangeRow, AliasRow
from modelkeep_server.metadata.store.tables.base import Table, metadata
from modelkeep_server.metadata.store.tables.collection import CollectionChangeRow, CollectionRow
from modelkeep_server.metadata.store.tables.draft import DraftEntryRow, DraftPageRow, DraftRow
from modelkeep_server.metadata.store.tables.event import EventRow, FenceRow, RequestRow
from modelkeep_server.metadata.store.tables.key import ApiKeyRow, TeamRow
from modelkeep_server.metadata.store.tables.manifest import ManifestPageRow, ManifestRow, ManifestSegmentPageRow, PageRow
from modelkeep_server.metadata.store.tables.project import ProjectRow
from modelkeep_server.metadata.store.tables.rule import AliasRuleRow
from modelkeep_server.metadata.store.tables.search import VersionValueRow
from modelkeep_server.metadata.store.tables.signature import SignatureRow
from modelkeep_server.metadata.store.tables.version import TagRow, UseRow, VersionAbsenceRow, VersionRow

__all__ = [
    "AliasChangeRow",
    "AliasRow",
    "AliasRuleRow",
    "ApiKeyRow",
    "CollectionChangeRow",
    "CollectionRow",
    "DraftEntryRow",
    "DraftPageRow",
    "DraftRow",
    "EventRow",
    "FenceRow",
    "ManifestPageRow",
    "ManifestRow",
    "ManifestSegmentPageRow",
    "PageRow",
    "ProjectRow",
    "RequestRow",
    "SignatureRow",
    "Table",
    "TagRow",
    "TeamRow",
    "UseRow",
    "VersionAbsenceRow",
    "VersionRow",
    "VersionValueRow",
    "metadata",
]
