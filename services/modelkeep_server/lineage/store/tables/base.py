"""The registry of the tables."""

from __future__ import annotations

from typing import ClassVar

from sqlalchemy import MetaData
from sqlmodel import SQLModel

from modelkeep_server.database.tables import registry

metadata = registry()


class Table(SQLModel):
    """The parent of all rows; keeps them out of the global registry of sqlmodel."""

    metadata: ClassVar[MetaData] = metadata
