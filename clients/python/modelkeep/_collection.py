"""Projects, and the collections in them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from modelkeep._wire import last, moment
from modelkeep.address import Address
from modelkeep.errors import InvalidAddress
from modelkeep.names import LATEST, CollectionName

if TYPE_CHECKING:
    from datetime import datetime

    from modelkeep.api.metadata.v1 import collection_pb2, project_pb2
    from modelkeep.names import ProjectName


@dataclass(frozen=True, slots=True)
class Project:
    """A name space of collections."""

    name: str
    resource_name: str
    description: str
    create_time: datetime
    update_time: datetime
    etag: str

    @classmethod
    def from_pb(cls, message: project_pb2.Project) -> Project:
        """Read a message."""
        return cls(
            last(message.name),
            message.name,
            message.description,
            moment(message.create_time),
            moment(message.update_time),
            message.etag,
        )


@dataclass(frozen=True, slots=True)
class Collection:
    """One name, one type, and a numbered line of versions."""

    name: str
    resource_name: str
    type: str
    description: str
    latest_version: str
    """`v7`; empty when no version is live."""
    version_count: int
    create_time: datetime
    update_time: datetime
    etag: str
    uid: str
    """Outlives its names."""

    @classmethod
    def from_pb(cls, message: collection_pb2.Collection) -> Collection:
        """Read a message."""
        return cls(
            last(message.name),
            message.name,
            message.type,
            message.description,
            last(message.latest_version),
            message.version_count,
            moment(message.create_time),
            moment(message.update_time),
            message.etag,
            message.uid,
        )


@dataclass(frozen=True, slots=True)
class CollectionChange:
    """A change of the name of a collection."""

    from_collection: str
    """The resource name before."""
    to_collection: str
    """The resource name after."""
    change_time: datetime
    actor: str

    @classmethod
    def from_pb(cls, message: collection_pb2.CollectionChange) -> CollectionChange:
        """Read a message."""
        return cls(message.from_collection, message.to_collection, moment(message.change_time), message.actor)


def parse_collection(text: str, project: ProjectName) -> CollectionName:
    """Read `[[team/]project/]name`. Raises InvalidAddress, InvalidName."""
    address = Address.parse(text, project.team, project.project)
    if address.alias != LATEST or address.moment is not None or text.rpartition("/")[2].find(":") >= 0:
        raise InvalidAddress(
            f"{text[:200]!r} names a version; a collection is meant here: [[team/]project/]name", address=text[:200]
        )
    return address.collection
