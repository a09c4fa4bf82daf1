"""Projects on the wire."""

from __future__ import annotations

from modelkeep.api.metadata.v1 import metadata_service_pb2 as service_pb
from modelkeep.api.metadata.v1 import project_pb2 as pb
from modelkeep.names import MAX_MARKDOWN_BYTES, ProjectName, TeamName, parse_words

from modelkeep_server.metadata.domain.project import Project
from modelkeep_server.runtime.messages import fields_from_pb
from modelkeep_server.runtime.moments import to_timestamp


def project_to_pb(project: Project) -> pb.Project:
    """A project."""
    return pb.Project(
        name=str(project.name),
        description=project.description,
        create_time=to_timestamp(project.create_time),
        update_time=to_timestamp(project.update_time),
        etag=project.etag,
    )


def project_from_pb(request: service_pb.CreateProjectRequest) -> tuple[ProjectName, str]:
    """The name and the description of a project to make. Raises InvalidName, InvalidArgument, LimitExceeded."""
    name = ProjectName(TeamName.parse(request.parent).team, request.project_id)
    return name, parse_words(request.project.description, "description", MAX_MARKDOWN_BYTES)


def project_edit_from_pb(request: service_pb.UpdateProjectRequest) -> tuple[ProjectName, str, str]:
    """The name, the new description and the expected etag of a project. Raises InvalidName, InvalidArgument, LimitExceeded."""
    fields_from_pb(request.update_mask, ("description",))
    project = request.project
    return ProjectName.parse(project.name), parse_words(project.description, "description", MAX_MARKDOWN_BYTES), project.etag
