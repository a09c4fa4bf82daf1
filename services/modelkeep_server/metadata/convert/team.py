"""Teams on the wire."""

from __future__ import annotations

from modelkeep.api.metadata.v1 import project_pb2 as project_pb

from modelkeep_server.metadata.domain.project import Team
from modelkeep_server.runtime.moments import to_timestamp


def team_to_pb(team: Team) -> project_pb.Team:
    """A team."""
    return project_pb.Team(name=str(team.name), create_time=to_timestamp(team.create_time))
