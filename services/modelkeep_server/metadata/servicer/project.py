"""The RPCs of teams and projects."""

from __future__ import annotations

from modelkeep.api.metadata.v1 import metadata_service_pb2 as pb
from modelkeep.api.metadata.v1 import project_pb2 as project_pb
from modelkeep.names import ProjectName, TeamName

from modelkeep_server.metadata.convert.project import project_edit_from_pb, project_from_pb, project_to_pb
from modelkeep_server.metadata.convert.team import team_to_pb
from modelkeep_server.metadata.servicer.base import Part, call
from modelkeep_server.runtime.callers import current
from modelkeep_server.runtime.messages import page_from_pb
from modelkeep_server.runtime.server import Context


class ProjectCalls(Part):
    """See teams; make, see and edit projects."""

    async def GetTeam(self, request: pb.GetTeamRequest, _context: Context) -> project_pb.Team:
        """A team."""
        return team_to_pb(await self._apps.teams.get_team(current(), TeamName.parse(request.name)))

    async def ListTeams(self, request: pb.ListTeamsRequest, _context: Context) -> pb.ListTeamsResponse:
        """The teams that the caller may read."""
        listing = await self._apps.teams.list_teams(current(), page_from_pb(request))
        return pb.ListTeamsResponse(teams=map(team_to_pb, listing.items), next_page_token=listing.next_token)

    async def CreateProject(self, request: pb.CreateProjectRequest, _context: Context) -> project_pb.Project:
        """A new project."""
        return project_to_pb(await self._apps.projects.create_project(call(request), *project_from_pb(request)))

    async def GetProject(self, request: pb.GetProjectRequest, _context: Context) -> project_pb.Project:
        """A project."""
        return project_to_pb(await self._apps.projects.get_project(current(), ProjectName.parse(request.name)))

    async def ListProjects(self, request: pb.ListProjectsRequest, _context: Context) -> pb.ListProjectsResponse:
        """The projects of a team."""
        listing = await self._apps.projects.list_projects(current(), TeamName.parse(request.parent), page_from_pb(request))
        return pb.ListProjectsResponse(projects=map(project_to_pb, listing.items), next_page_token=listing.next_token)

    async def UpdateProject(self, request: pb.UpdateProjectRequest, _context: Context) -> project_pb.Project:
        """A project with other words."""
        return project_to_pb(await self._apps.projects.update_project(call(request), *project_edit_from_pb(request)))
