"""Rows of the rules that keep aliases."""

from __future__ import annotations

from datetime import datetime

from sqlmodel import Field

from modelkeep_server.database.tables import ref, text_field, time
from modelkeep_server.metadata.store.tables.base import Table


class AliasRuleRow(Table, table=True):
    """A rule; its alias points where it says after every transaction. The alias need not have a row of its own."""

    __tablename__ = "alias_rule"
    collection_id: int = ref("collection.id", primary_key=True)
    alias: str = Field(primary_key=True)
    goal: str
    """A name of domain.rule.Goal."""
    key: str = text_field()
    """As people write it."""
    keys: str = text_field()
    """A JSON list: the way to the number."""
    create_time: datetime = time()
    creator: str
