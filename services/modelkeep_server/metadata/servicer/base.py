"""What all parts of the servicer share: the use cases, and how a call is read."""

from __future__ import annotations

from dataclasses import dataclass

from google.protobuf.message import Message

from modelkeep_server.metadata.app.alias import AliasApp
from modelkeep_server.metadata.app.collection import CollectionApp
from modelkeep_server.metadata.app.commit import CommitApp
from modelkeep_server.metadata.app.copying import CopyApp
from modelkeep_server.metadata.app.draft import DraftApp
from modelkeep_server.metadata.app.entry import EntryApp
from modelkeep_server.metadata.app.event import EventApp
from modelkeep_server.metadata.app.key import KeyApp
from modelkeep_server.metadata.app.project import ProjectApp
from modelkeep_server.metadata.app.remove import RemovalApp
from modelkeep_server.metadata.app.resolution import ResolutionApp
from modelkeep_server.metadata.app.rule import RuleApp
from modelkeep_server.metadata.app.signature import SignatureApp
from modelkeep_server.metadata.app.team import TeamApp
from modelkeep_server.metadata.app.use import UseApp
from modelkeep_server.metadata.app.version import VersionApp
from modelkeep_server.metadata.app.watch import WatchApp
from modelkeep_server.metadata.domain.limits import Limits
from modelkeep_server.runtime.callers import current
from modelkeep_server.runtime.calls import Call
from modelkeep_server.runtime.messages import call_from_pb


@dataclass(frozen=True, slots=True)
class Apps:
    """All use cases of the service, by noun."""

    limits: Limits
    keys: KeyApp
    teams: TeamApp
    projects: ProjectApp
    collections: CollectionApp
    drafts: DraftApp
    removals: RemovalApp
    commits: CommitApp
    copies: CopyApp
    versions: VersionApp
    entries: EntryApp
    aliases: AliasApp
    rules: RuleApp
    resolution: ResolutionApp
    uses: UseApp
    events: EventApp
    watches: WatchApp
    signatures: SignatureApp


class Part:
    """Some RPCs of a service."""

    def __init__(self, apps: Apps) -> None:
        self._apps = apps


def call(request: Message) -> Call:
    """The call that is being served, which writes. Raises InvalidArgument."""
    return call_from_pb(request, current())
