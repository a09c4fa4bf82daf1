"""The RPCs of runs."""

from __future__ import annotations

from modelkeep.api.lineage.v1 import lineage_service_pb2 as pb
from modelkeep.api.lineage.v1 import run_pb2 as run_pb
from modelkeep.names import ProjectName, RunName, parse_words

from modelkeep_server.lineage.convert.best import best_to_pb
from modelkeep_server.lineage.convert.run import (
    end_from_pb,
    new_run_from_pb,
    run_to_pb,
    runs_to_pb,
    tags_from_pb,
    words_from_pb,
)
from modelkeep_server.lineage.convert.search import best_from_pb, run_query
from modelkeep_server.lineage.servicer.base import Part, call
from modelkeep_server.runtime.callers import current
from modelkeep_server.runtime.messages import page_from_pb
from modelkeep_server.runtime.moments import to_duration
from modelkeep_server.runtime.server import Context


class RunCalls(Part):
    """Begin, see, find, edit, end and delete runs."""

    async def CreateRun(self, request: pb.CreateRunRequest, _context: Context) -> run_pb.Run:
        """A new run."""
        new = new_run_from_pb(request, current().actor, self._apps.limits)
        return run_to_pb(await self._apps.runs.create_run(call(request), new))

    async def GetRun(self, request: pb.GetRunRequest, _context: Context) -> run_pb.Run:
        """A run."""
        return run_to_pb(await self._apps.runs.get_run(current(), RunName.parse(request.name)))

    async def ListRuns(self, request: pb.ListRunsRequest, _context: Context) -> pb.ListRunsResponse:
        """The runs of a project, or of a team."""
        project, page, query = ProjectName.parse(request.parent), page_from_pb(request), run_query(request)
        return runs_to_pb(await self._apps.runs.list_runs(current(), project, page, query))

    async def GetBestRun(self, request: pb.GetBestRunRequest, _context: Context) -> pb.GetBestRunResponse:
        """The best run by a number."""
        project, (path, query, largest) = ProjectName.parse(request.parent), best_from_pb(request)
        return best_to_pb(await self._apps.best.get_best_run(current(), project, path, query, largest=largest))

    async def UpdateRun(self, request: pb.UpdateRunRequest, _context: Context) -> run_pb.Run:
        """A run with other words."""
        edit = words_from_pb(request, self._apps.limits)
        return run_to_pb(await self._apps.runs.update_run(call(request), *edit))

    async def EditRunTags(self, request: pb.EditRunTagsRequest, _context: Context) -> run_pb.Run:
        """A run with other tags."""
        name, add, remove = RunName.parse(request.name), tags_from_pb(request.add_tags), tags_from_pb(request.remove_tags)
        return run_to_pb(await self._apps.runs.edit_run_tags(call(request), name, add, remove))

    async def Heartbeat(self, request: pb.HeartbeatRequest, _context: Context) -> pb.HeartbeatResponse:
        """When to say so again."""
        await self._apps.runs.heartbeat(current(), RunName.parse(request.name))
        return pb.HeartbeatResponse(next_within=to_duration(self._apps.limits.heartbeat_timeout / 3))

    async def FinishRun(self, request: pb.FinishRunRequest, _context: Context) -> run_pb.Run:
        """A run that ended."""
        return run_to_pb(await self._apps.runs.finish_run(call(request), *end_from_pb(request)))

    async def ResumeRun(self, request: pb.ResumeRunRequest, _context: Context) -> run_pb.Run:
        """A run that runs again."""
        return run_to_pb(await self._apps.runs.resume_run(call(request), RunName.parse(request.name)))

    async def DeleteRun(self, request: pb.DeleteRunRequest, _context: Context) -> pb.DeleteRunResponse:
        """That a run is gone."""
        name, reason = RunName.parse(request.name), parse_words(request.reason, "reason")
        await self._apps.runs.delete_run(call(request), name, reason)
        return pb.DeleteRunResponse()
