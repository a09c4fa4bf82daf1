"""Finding a version by its address."""

from __future__ import annotations

from typing import TYPE_CHECKING

from modelkeep._records import Resolved
from modelkeep._version import Version
from modelkeep.api.metadata.v1 import metadata_service_pb2 as pb

if TYPE_CHECKING:
    from modelkeep._channel import Connection
    from modelkeep.address import Address
    from modelkeep.names import ProjectName


def resolve(connection: Connection, address: Address, text: str, project: ProjectName | None = None) -> Version:
    """The version at an address, as the server sees it now."""
    parent = str(project or connection.project)
    message = connection.metadata.Resolve(pb.ResolveRequest(parent=parent, address=text))
    return Version.from_pb(message, connection, _resolved=Resolved.by(address, message))


def get_version(connection: Connection, name: str) -> Version:
    """A version by its resource name."""
    return Version.from_pb(connection.metadata.GetVersion(pb.GetVersionRequest(name=name)), connection)
