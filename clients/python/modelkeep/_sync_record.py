"""Replaying one record of a run: its steps, each noted when it is done."""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from functools import cached_property
from hashlib import sha256
from typing import TYPE_CHECKING, Any, NamedTuple
from uuid import UUID

from modelkeep import metadata as json_metadata
from modelkeep._artifact import Artifact, Source, Sources
from modelkeep._log import Words, commit_request, committed, draft_request, log_artifact
from modelkeep._offline_find import NOTES
from modelkeep._offline_journal import Journal
from modelkeep._offline_store import Snapshots
from modelkeep._sync_run import KINDS, RunReplay
from modelkeep.api.metadata.v1 import draft_pb2
from modelkeep.api.metadata.v1 import metadata_service_pb2 as pb
from modelkeep.digest import Digest
from modelkeep.errors import DigestMismatch, DraftNotFound, NotFound, SyncFailed, VersionDeleted, VersionNotFound, VersionPurged
from modelkeep.names import CollectionName, ProjectName, RunName, VersionName

if TYPE_CHECKING:
    from collections.abc import Iterator

    from modelkeep._channel import Connection
    from modelkeep._entries import Spool
    from modelkeep._offline_journal import Record
    from modelkeep.api.metadata.v1 import version_pb2


class Step(NamedTuple):
    """What became of a record that was replayed."""

    record: int
    kind: str
    version: str
    """`digits:v3`; empty for a record that is not about one."""
    aliases: tuple[str, ...] = ()
    deduplicated: bool = False
    ignored_fields: tuple[str, ...] = ()
    """What the version that was there already did not take over."""
    sent_bytes: int = 0
    not_better: str = ""
    """What was compared, of a record that was to be better and was not: nothing was made, `version` is the best one. Of a use
    of that, which is left out, that nothing was made; `version` is empty."""


@dataclass
class Notes:
    """What of a run was replayed already, as earlier syncs noted it. Raises SyncFailed when that cannot be read."""

    folder: str
    url: str = ""
    """The server that has it so far, and …"""
    team: str = ""
    """… the team there."""
    done: set[int] = field(default_factory=set)
    """The records that are replayed, or left out for good."""
    unkept: set[int] = field(default_factory=set)
    """Those of them that a server was not sent when they told of the run itself, because it kept no runs."""
    drafts: dict[int, list[str]] = field(default_factory=dict)
    logged: dict[int, dict[str, Any]] = field(default_factory=dict)
    begun: bool = False
    """Whether the server was told that the run began, …"""
    is_kept: bool = True
    """… and keeps it."""
    resumed: bool = False
    """Whether the run was there before, and goes on."""
    run: str = ""
    """The id under which it is replayed, where that is not the one that was recorded."""
    reopened: bool = False
    """Whether the run, which had ended, was resumed for what was recorded after its end, and has to be ended again."""

    def __post_init__(self) -> None:
        self._journal = Journal(os.path.join(self.folder, NOTES))
        for note in self._journal.read() if os.path.exists(self._journal.path) else ():
            self._take(note.kind, note.values)

    def add(self, kind: str, **values: Any) -> None:
        """Note a step, durably. Raises DiskFull, TargetUnusable."""
        self._journal.append(kind, **values)
        self._take(kind, values)

    def _take(self, kind: str, values: dict[str, Any]) -> None:
        match kind:
            case "server":
                self.url, self.team = values["url"], values["team"]
            case "draft":
                self.drafts.setdefault(values["record"], []).append(values["draft"])
            case "logged":
                self.logged[values["record"]] = values
            case "begun":
                self.begun, self.is_kept = True, values["kept"]
                self.resumed = values.get("resumed", False)
            case "run":
                self.run = values["run"]
            case "reopened":
                self.reopened = True
            case "closed":
                self.reopened = False
            case "done":
                self.done.add(values["record"])
                if not self.is_kept and not values.get("skipped"):
                    self.unkept.add(values["record"])

    def has(self, record: Record) -> bool:
        """Whether nothing is left to do for a record. A server that kept no runs may keep them by now."""
        return record.number in self.done and not (record.number in self.unkept and record.kind in KINDS)


class Replay:
    """Replays the records of one run on one server."""

    def __init__(self, connection: Connection, folder: str, head: Record, notes: Notes) -> None:
        self._connection = connection
        self._snapshots = Snapshots(folder)
        self._notes = notes
        self._project = ProjectName(head.values["team"] or connection.team, head.values["project"])
        self._run = RunName(self._project.team, self._project.project, notes.run or head.values["run"])
        self._display_name = head.values["name"]
        self._itself = RunReplay(connection, self._run, notes, self._id, head)
        self.step = "server"
        """What is being done, for who has to tell that it failed."""

    def begin(self) -> None:
        """Note the server, and begin the run there, unless that was done. Raises as `replay`."""
        self._settle()
        self.step = "run"
        self._itself.begin()

    def replay(self, record: Record, *, is_late: bool = False) -> Step:
        """Do what a record says, unless it was done; a late one was recorded after the run's end.

        Raises ModelkeepError; then it may simply be tried again.
        """
        match record.kind:
            case "log":
                done = self._log(record)
            case "use":
                done = self._use(record)
            case kind if kind in KINDS:
                self.step = kind
                self._itself.replay(record, is_late=is_late)
                done = Step(record.number, kind, "")
            case _:
                message = (
                    f"records of the kind {record.kind!r} are not known here; a newer modelkeep wrote it, so sync with that"
                )
                raise SyncFailed(message, kind=record.kind)
        self._notes.add("done", record=record.number)
        return done

    def end_again(self, record: Record, last: Record) -> None:
        """End the run as a record says, after it was resumed for others, up to the `last`."""
        self.step = "finish"
        self._itself.end(record, f"finish after {last.number}")
        self._notes.add("closed")

    def _settle(self) -> None:
        """Note the server; refuse one that lacks what was replayed to another before."""
        notes, url, team = self._notes, self._connection.config.url, self._project.team
        self.step = "server"
        if (notes.url, notes.team) == (url, team):
            return
        if notes.url and (notes.team != team or not self._has_what_was_logged()):
            message = (
                f"the beginning of this run was synced to the team {notes.team!r} of {notes.url}, and {url} does not have it;"
                f" sync it there, or remove {NOTES} from its folder to replay all of it here"
            )
            raise SyncFailed(message, url=notes.url, team=notes.team)
        notes.add("server", url=url, team=team)

    def _has_what_was_logged(self) -> bool:
        """Whether this is the same server under another address: it has our version under its uid."""
        for logged in self._notes.logged.values():
            try:
                request = pb.GetVersionRequest(name=logged["version"], show_deleted=True)
                return bool(self._connection.metadata.GetVersion(request).uid == logged["uid"])
            except (VersionDeleted, VersionPurged):
                return True
            except NotFound:
                return False
        return True

    def _log(self, record: Record) -> Step:
        logged = self._notes.logged.get(record.number) or self._commit(record)
        worse = logged.get("compared", "")  # a note of an older release says nothing about it
        aliases = [] if worse else sorted(set(record.values["aliases"]))
        name = VersionName.parse(logged["version"])
        if aliases:
            self.step = "aliases"
            reason = f"recorded offline at {record.values['time']} by the run {self._display_name}"
            request = pb.MoveAliasesRequest(parent=str(name.parent), reason=reason, request_id=self._id(record, "aliases"))
            for alias in aliases:
                request.moves.add(alias=alias, version=logged["version"])
            self._connection.metadata.MoveAliases(request)
        known = logged["deduplicated"], tuple(logged["ignored_fields"]), logged["sent_bytes"]
        return Step(record.number, record.kind, name.short, tuple(aliases), *known, worse)

    def _commit(self, record: Record) -> dict[str, Any]:
        values, words = record.values, self._words(record)
        self.step = "draft"
        draft = self._draft(record)
        if draft.state == draft_pb2.DRAFT_STATE_COMMITTED:
            self.step = "commit"
            answer = self._connection.metadata.CommitDraft(commit_request(draft.name, words))
            version = committed(answer, self._connection)
        else:
            self.step = "upload"
            recorded = Recorded(self._snapshots, values)
            version = log_artifact(
                self._connection, self._project, recorded, words, draft=draft.name, accept=recorded.require_whole
            )
        compared = version.comparison
        ignored = [name for name in version.ignored_fields if name != "notes" or values["notes"]]
        logged = {"version": version.resource_name, "uid": version.uid, "deduplicated": version.deduplicated}
        logged |= {"ignored_fields": ignored, "sent_bytes": version.sent_bytes}
        logged["compared"] = "" if compared is None or compared.is_better else str(compared)
        self._notes.add("logged", record=record.number, **logged)
        return logged

    def _draft(self, record: Record) -> draft_pb2.Draft:
        """The draft of a record: the one that an earlier sync opened, unless that ended by itself; else a new one."""
        opened = self._notes.drafts.get(record.number, [])
        name = opened[-1] if opened else ""
        collection = CollectionName(self._project.team, self._project.project, record.values["collection"])
        while True:
            if not name:
                request = draft_request(collection, record.values["type"])
                attempt = len(self._notes.drafts.get(record.number, []))
                request.request_id = self._id(record, f"draft {attempt}")
                name = self._connection.metadata.CreateDraft(request).name
                self._notes.add("draft", record=record.number, draft=name)
            try:
                draft: draft_pb2.Draft = self._connection.metadata.GetDraft(pb.GetDraftRequest(name=name))
            except DraftNotFound:
                draft = draft_pb2.Draft()
            if draft.state in {draft_pb2.DRAFT_STATE_OPEN, draft_pb2.DRAFT_STATE_COMMITTED}:
                return draft
            name = ""

    def _words(self, record: Record) -> Words:
        """What is said about the version. Its aliases move by themselves afterwards, with a reason in their history."""
        values = record.values
        notes = "\n\n".join(filter(None, (values["notes"], f"Recorded offline at {values['time']}.")))
        metadata = json_metadata.encode(values["metadata"])
        about = (values["description"], notes, metadata)
        better = values.get("only_if_better")  # an older release wrote none
        run = self._run if values.get("produced", True) else None  # an older release did not say whether the run made it
        return Words((), tuple(values["tags"]), *about, run, self._display_name, tuple(better) if better else None)

    def _use(self, record: Record) -> Step:
        self.step = "use"
        values = record.values
        try:
            found = self._find(values)
        except VersionNotFound:
            if not self._made_nothing(values.get("conditional")):
                raise
            why = f"no version has {values['collection']}@{values['digest']}, which was not better"
            return Step(record.number, record.kind, "", not_better=why)
        name = VersionName.parse(found.name)
        if found.digest != values["digest"]:
            message = f"{name.short} is not what was used: it has the digest {found.digest}, and {values['digest']} was used"
            raise DigestMismatch(message, version=name.short, expected=values["digest"], found=found.digest)
        request = pb.RecordUseRequest(version=found.name, run=str(self._run), run_display_name=self._display_name)
        request.alias_text, request.request_id = values["alias_text"], self._id(record, "use")
        self._connection.metadata.RecordUse(request)
        return Step(record.number, record.kind, name.short)

    def _find(self, values: dict[str, Any]) -> version_pb2.Version:
        """The version that a record used."""
        collection = CollectionName(values["team"] or self._project.team, values["project"], values["collection"])
        if values["number"] is None:
            address = f"{collection.team}/{collection.project}/{collection.collection}@{values['digest']}"
            return self._connection.metadata.Resolve(pb.ResolveRequest(parent=str(collection.parent), address=address))
        return self._connection.metadata.GetVersion(pb.GetVersionRequest(name=str(collection.version(values["number"]))))

    def _made_nothing(self, place: tuple[str, int] | None) -> bool:
        """Whether nothing was made of what was to be better: by which record of this run, or of one beside it."""
        if place is None:
            return False
        folder = os.path.join(os.path.dirname(os.path.abspath(self._notes.folder)), place[0])
        if not os.path.exists(folder):  # it was synced to its end, and removed
            return True
        return bool(Notes(folder).logged.get(place[1], {}).get("compared"))

    def _id(self, record: Record, step: str) -> str:
        """The request id of a step: the same in every process, and of no other step of any run."""
        seed = f"modelkeep sync\n{self._run.run}\n{step}\n{record.text}"
        return str(UUID(bytes=sha256(seed.encode()).digest()[:16], version=4))


class Recorded(Artifact):
    """An artifact whose files are those of an offline folder."""

    def __init__(self, snapshots: Snapshots, values: dict[str, Any]) -> None:
        super().__init__(values["collection"], values["type"])
        self._snapshots = snapshots
        self._digest = Digest.parse(values["digest"])
        self._count = values["entry_count"]

    def __len__(self) -> int:
        return int(self._count)

    def seal(self) -> None:
        """It never takes files."""

    def sources(self) -> Sources:
        """The files, in order of path; going through them raises InvalidEntry or DigestMismatch when their list is damaged."""
        return _Kept(self._snapshots, self._digest)

    def source(self, name: str) -> Source:
        """The file that will be the entry `name`."""
        return Source(name, self._paths[name])

    @cached_property
    def _paths(self) -> dict[str, str]:
        return {source.name: source.path for source in self.sources()}

    def require_whole(self, entries: Spool) -> None:
        """Raise DigestMismatch unless what was read for upload is what was recorded."""
        wanted = {entry.path: entry.digest.sha256 for entry in self._snapshots.entries(self._digest)}
        for message in entries:
            if message.HasField("digest") and wanted.pop(message.path, b"") != message.digest.sha256:
                raise DigestMismatch(
                    f"{message.path!r} is not the file that was logged: the folder is damaged", path=message.path
                )
        if wanted:
            path = next(iter(wanted))
            raise DigestMismatch(f"{path!r} was not read for the upload, so nothing was logged", path=path)


class _Kept(Sources):
    """The files of an offline folder, read from its list each time."""

    def __init__(self, snapshots: Snapshots, digest: Digest) -> None:
        self._snapshots = snapshots
        self._digest = digest

    def __iter__(self) -> Iterator[Source]:
        for entry in self._snapshots.entries(self._digest):
            yield Source(entry.path, self._snapshots.object(entry.digest.sha256, executable=entry.executable))
