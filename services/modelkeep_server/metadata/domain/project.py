"""Teams and projects."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from modelkeep.names import ProjectName, TeamName


@dataclass(frozen=True, slots=True)
class Team:
    """A team: the scope of keys, of access and of content."""

    name: TeamName
    create_time: datetime


@dataclass(frozen=True, slots=True)
class Project:
    """A project: a name space of collections, and the scope of one event log."""

    name: ProjectName
    description: str
    create_time: datetime
    update_time: datetime
    etag: str
