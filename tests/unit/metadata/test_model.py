"""The whole metadata service against a dictionary, by any line of calls that hypothesis can think of (R5, R6)."""

from __future__ import annotations

import asyncio
import shutil
import tempfile
from collections.abc import Coroutine
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any, TypeVar

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    Bundle,
    RuleBasedStateMachine,
    initialize,
    invariant,
    multiple,
    precondition,
    rule,
    run_state_machine_as_test,
)
from modelkeep.address import format_moment
from modelkeep.errors import (
    AliasChanged,
    AliasNotFound,
    DigestLive,
    DraftCommitted,
    DraftNotOpen,
    EntryNotFound,
    ModelkeepError,
    PathConflict,
    VersionAliased,
    VersionDeleted,
    VersionNotFound,
    VersionPurged,
)
from modelkeep.manifest import manifest_digest
from modelkeep.names import DraftName, RunName
from modelkeep_server.database.engine import Database
from modelkeep_server.database.paging import Page
from modelkeep_server.metadata.app.resolution import ResolutionApp
from modelkeep_server.metadata.app.use import UseApp
from modelkeep_server.metadata.domain.alias import AliasMove
from modelkeep_server.metadata.domain.draft import Committed
from modelkeep_server.metadata.domain.event import AliasMoved
from modelkeep_server.metadata.domain.use import Use
from modelkeep_server.metadata.domain.version import Version

from tests.unit.metadata.model import (
    ALIASES,
    DATA,
    HOURS,
    NUMBERS,
    PATHS,
    ModelCollection,
    ModelDraft,
    Snapshot,
    number_of,
    template,
)
from tests.unit.metadata.rig import CALLER, DIGITS, PROJECT, Rig, call, part, stream

T = TypeVar("T")


class MetadataMachine(RuleBasedStateMachine):
    """Calls, each made on the service and on the dictionary; both must say the same."""

    drafts = Bundle("drafts")

    def __init__(self) -> None:
        super().__init__()
        self.folder = Path(tempfile.mkdtemp(prefix="mk-model-"))
        shutil.copy(template(), self.folder / "metadata.sqlite")
        self.loop = asyncio.Runner()
        self.rig = self.do(self._open())
        self.model = ModelCollection()
        self.known_drafts: dict[DraftName, ModelDraft] = {}
        self.snapshots: list[Snapshot] = []
        self.hours = 0

    async def _open(self) -> Rig:
        return Rig(Database(f"sqlite:///{self.folder / 'metadata.sqlite'}"))

    def teardown(self) -> None:
        self.do(self.rig.database.close())
        self.loop.close()
        shutil.rmtree(self.folder)

    def do(self, work: Coroutine[Any, Any, T]) -> T:
        return self.loop.run(work)

    def fails(self, error: type[ModelkeepError], work: Coroutine[Any, Any, object]) -> None:
        with pytest.raises(error):
            self.do(work)

    # Drafts -----------------------------------------------------------------------------------------------------------------

    @initialize(count=st.integers(0, 3))
    def begin_with_some_versions(self, count: int) -> None:
        for data in (b"one", b"two", b"three")[:count]:
            self.log({"a": data}, set())

    @rule(target=drafts)
    def open(self) -> DraftName:
        return self.begin()

    def begin(self) -> DraftName:
        name = self.do(self.rig.draft())
        self.known_drafts[name] = ModelDraft(touched_hours=self.hours)
        return name

    @rule(target=drafts, number=NUMBERS)
    def open_from(self, number: int) -> Any:
        """SEM-41: a draft begins with the entries of a live version."""
        work = self.rig.drafts.create_draft(call(), PROJECT, DIGITS, "model", base=DIGITS.version(number))
        if not self._is_live(number):
            self.fails(VersionDeleted if number < len(self.model.versions) else VersionNotFound, work)
            return multiple()
        name = self.do(work).name
        files = dict(self.model.versions[number].content)
        self.known_drafts[name] = ModelDraft(files, touched_hours=self.hours)
        return name

    @rule(name=drafts, path=PATHS | st.sampled_from(["b", "nothing"]))
    def remove(self, name: DraftName, path: str) -> None:
        draft = self.known_drafts[name]
        gone = [one for one in draft.files if one == path or one.startswith(path + "/")]
        work = self.rig.removals.remove_entries(call("RemoveEntries"), name, [path])
        if not self._is_open(draft):
            self.fails(DraftNotOpen, work)
        elif not gone:
            self.fails(EntryNotFound, work)
        else:
            assert self.do(work).entry_count == len(gone)
            for one in gone:
                del draft.files[one]
            draft.touched_hours = self.hours

    @rule(name=drafts, path=PATHS, data=DATA, overwrite=st.booleans())
    def add(self, name: DraftName, path: str, data: bytes, overwrite: bool) -> None:
        draft = self.known_drafts[name]
        entries = stream([part(self.rig.file(path, data))])
        work = self.rig.drafts.add_entries(CALLER, name, entries, overwrite=overwrite)
        if not self._is_open(draft):
            self.fails(DraftNotOpen, work)
        elif not overwrite and draft.files.get(path, data) != data:
            self.fails(PathConflict, work)
        else:
            assert self.do(work) == 1
            draft.files[path] = data
            draft.touched_hours = self.hours

    @rule(name=drafts, aliases=st.sets(ALIASES), tags=st.sets(st.sampled_from(["x", "y z"])))
    def finish(self, name: DraftName, aliases: set[str], tags: set[str]) -> None:
        self.commit(name, aliases, tags)

    def commit(self, name: DraftName, aliases: set[str], tags: set[str]) -> None:
        draft = self.known_drafts[name]
        work = self.rig.commit(name, aliases=tuple(sorted(aliases)), tags=tuple(sorted(tags)), notes=str(name))
        if draft.committed_as is not None:
            self.fails(DraftCommitted, self.rig.commit(name, notes="another body"))
            again = self._committed(work)
            assert again is None or again.version.name.number == draft.committed_as
        elif not self._is_open(draft):
            self.fails(DraftNotOpen, work)
        else:
            committed = self.do(work)
            number, deduplicated = self.model.commit(frozenset(draft.files.items()), aliases, tags)
            assert (committed.version.name.number, committed.deduplicated) == (number, deduplicated)
            assert ("tags" in committed.ignored_fields) == (deduplicated and bool(tags))
            draft.committed_as = number

    @rule(files=st.dictionaries(PATHS, DATA, min_size=1, max_size=2), aliases=st.sets(ALIASES, max_size=1))
    def log(self, files: dict[str, bytes], aliases: set[str]) -> None:
        """What most callers do, in one step, so that many versions come about."""
        name = self.begin()
        self.do(self.rig.add(name, [self.rig.file(path, data) for path, data in files.items()]))
        self.known_drafts[name].files = files
        self.commit(name, aliases, set())

    @rule(number=NUMBERS, aliases=st.sets(ALIASES, max_size=1))
    def copy(self, number: int, aliases: set[str]) -> None:
        """SEM-11: a copy into the collection that has the content is answered with the version that is the target."""
        source, moved = DIGITS.version(number), tuple(sorted(aliases))
        work = self.rig.copies.copy_version(call("CopyVersion"), DIGITS, source, moved, ())
        if not self.known_drafts:
            self.fails(ModelkeepError, work)  # there is no project yet
        elif not self._is_live(number):
            self.fails(VersionDeleted if number < len(self.model.versions) else VersionNotFound, work)
        else:
            expected = self.model.commit(self.model.versions[number].content, aliases, set())
            copied = self.do(work)
            assert (copied.version.name.number, copied.deduplicated) == expected

    def _committed(self, work: Coroutine[Any, Any, Committed]) -> Committed | None:
        """The answer to a repeated commit; None when this was another body than the first."""
        try:
            return self.do(work)
        except DraftCommitted:
            return None

    @rule(name=drafts)
    def abort(self, name: DraftName) -> None:
        draft = self.known_drafts[name]
        work = self.rig.drafts.abort_draft(call("AbortDraft"), name)
        if draft.committed_as is not None:
            self.fails(DraftNotOpen, work)
        else:
            self.do(work)
            draft.is_aborted = draft.is_aborted or self._is_open(draft)

    def _is_open(self, draft: ModelDraft) -> bool:
        ended = draft.is_aborted or draft.committed_as is not None
        return not ended and self.hours - draft.touched_hours < 24

    # Aliases ----------------------------------------------------------------------------------------------------------------

    @rule(alias=ALIASES, to=NUMBERS | st.none(), expected=st.none() | NUMBERS | st.just("must not exist"))
    def move(self, alias: str, to: int | None, expected: int | str | None) -> None:
        version = None if to is None else DIGITS.version(to)
        belief = DIGITS.version(expected) if isinstance(expected, int) else None
        free = expected == "must not exist" and to is not None
        wish = AliasMove(alias, version, belief, must_not_exist=free)
        work = self.rig.aliases.move_aliases(call("MoveAliases"), DIGITS, [wish], "why")
        current = self.model.aliases.get(alias)
        if not self.known_drafts:
            self.fails(ModelkeepError, work)  # there is no project yet
        elif (free and current is not None) or (belief is not None and current != belief.number):
            self.fails(AliasChanged, work)
        elif to is None and current is None:
            self.fails(AliasNotFound, work)
        elif to != current and to is not None and not self._is_live(to):
            self.fails(VersionDeleted if to < len(self.model.versions) else VersionNotFound, work)
        else:
            (moved,) = self.do(work)
            self.model.move(alias, to)
            assert (moved.version, moved.seq) == (version, self.model.seqs[alias])

    def _is_live(self, number: int) -> bool:
        return number < len(self.model.versions) and self.model.versions[number].is_live

    # Versions ---------------------------------------------------------------------------------------------------------------

    @precondition(lambda self: self.model.versions)
    @rule(number=NUMBERS, with_aliases=st.booleans())
    def delete(self, number: int, *, with_aliases: bool) -> None:
        name = DIGITS.version(number)
        work = self.rig.versions.delete_version(call("DeleteVersion"), name, "why", delete_aliases=with_aliases)
        aliases = [alias for alias, to in self.model.aliases.items() if to == number]
        if not self._is_live(number):
            self.fails(VersionDeleted if number < len(self.model.versions) else VersionNotFound, work)
        elif aliases and not with_aliases:
            self.fails(VersionAliased, work)
        else:
            self.do(work)
            for alias in sorted(aliases):
                self.model.move(alias, None)
            self.model.versions[number].deleted_hours = self.hours

    @precondition(lambda self: self.model.versions)
    @rule(data=st.data())
    def restore(self, data: st.DataObject) -> None:
        gone = [number for number, version in enumerate(self.model.versions) if not version.is_live]
        number = data.draw(st.sampled_from(gone or [0, 99]))
        work = self.rig.versions.restore_version(call("RestoreVersion"), DIGITS.version(number))
        if number >= len(self.model.versions):
            self.fails(VersionNotFound, work)
            return
        version = self.model.versions[number]
        if version.deleted_hours is not None and self.hours - version.deleted_hours > 168:
            self.fails(VersionPurged, work)
        elif version.deleted_hours is not None and self.model.target(version.content) is not None:
            self.fails(DigestLive, work)
        else:
            assert self.do(work).name == DIGITS.version(number)
            version.deleted_hours = None

    @precondition(lambda self: self.model.versions)
    @rule(number=NUMBERS, add=st.sets(st.sampled_from("pq")), remove=st.sets(st.sampled_from("xr")))
    def tag(self, number: int, add: set[str], remove: set[str]) -> None:
        work = self.rig.versions.edit_tags(call("EditTags"), DIGITS.version(number), sorted(add), sorted(remove))
        if self._is_live(number):
            version = self.model.versions[number]
            version.tags = (version.tags | add) - remove
            assert self.do(work).tags == tuple(sorted(version.tags))
        else:
            self.fails(VersionDeleted if number < len(self.model.versions) else VersionNotFound, work)

    @precondition(lambda self: self.model.versions)
    @rule(number=NUMBERS, run=st.sampled_from(["r1", "r2"]))
    def use(self, number: int, run: str) -> None:
        use = Use(RunName(PROJECT.team, PROJECT.project, run), alias_text=f"digits:v{number}")
        work = UseApp(self.rig.transactions).record_use(call("RecordUse"), DIGITS.version(number), use)
        if self._is_live(number):
            runs = self.model.versions[number].runs
            assert self.do(work).is_first == (run not in runs)
            runs.add(run)
        else:
            self.fails(VersionDeleted if number < len(self.model.versions) else VersionNotFound, work)

    # Time -------------------------------------------------------------------------------------------------------------------

    @rule(steps=st.sampled_from([1, 1, 1, 13]))
    def time_passes(self, steps: int) -> None:
        self.hours += steps * HOURS
        self.rig.clock.offset = timedelta(hours=self.hours)

    @rule()
    def remember(self) -> None:
        moment: datetime = self.do(self.rig.transactions.read(lambda work: work.now()))
        self.snapshots.append(Snapshot(moment, dict(self.model.aliases), self.model.latest))

    @precondition(lambda self: self.snapshots and self.known_drafts)
    @rule(data=st.data(), alias=ALIASES)
    def look_back(self, data: st.DataObject, alias: str) -> None:
        """SEM-16, SEM-18: as of a moment, an alias and `latest` are what they were."""
        then = data.draw(st.sampled_from(self.snapshots))
        self._resolves(f"digits:{alias}@{format_moment(then.moment)}", then.aliases.get(alias), AliasNotFound)
        self._resolves(f"digits@{format_moment(then.moment)}", then.latest, VersionNotFound)

    # What must always be so -------------------------------------------------------------------------------------------------

    @precondition(lambda self: self.known_drafts)
    @rule(alias=ALIASES, number=NUMBERS)
    def resolve(self, alias: str, number: int) -> None:
        """SEM-3, SEM-40."""
        self._resolves("digits", self.model.latest, VersionNotFound)
        self._resolves(f"digits:{alias}", self.model.aliases.get(alias), AliasNotFound)
        self._resolves(f"digits:v{number}", number if number < len(self.model.versions) else None, VersionNotFound)
        if number < len(self.model.versions):
            content = self.model.versions[number].content
            digest = manifest_digest(self.rig.file(path, data) for path, data in content)
            target = self.model.target(content)
            self._resolves(f"digits@sha256:{digest.hex[:9]}", number if target is None else target, VersionNotFound)

    def _resolves(self, address: str, number: int | None, missing: type[ModelkeepError]) -> None:
        work = ResolutionApp(self.rig.transactions).resolve(CALLER, PROJECT, address)
        if number is None:
            self.fails(missing, work)
        elif not self._is_live(number):
            self.fails(VersionDeleted, work)
        else:
            self._equal(self.do(work), number)

    def _equal(self, version: Version, number: int) -> None:
        expected = self.model.versions[number]
        assert version.name.number == number
        assert version.aliases == self.model.names_of(number)
        assert version.tags == tuple(sorted(expected.tags))
        assert version.entry_count == len(expected.content)
        assert version.uses.run_count == len(expected.runs)

    @invariant()
    def lists_say_the_same(self) -> None:
        if not self.known_drafts:
            return
        versions = self.do(self.rig.versions.list_versions(CALLER, DIGITS, Page(), show_deleted=False)).items
        live = [number for number, version in enumerate(self.model.versions) if version.is_live]
        assert [version.name.number for version in versions] == live[::-1]
        aliases = self.do(self.rig.aliases.list_aliases(CALLER, DIGITS, Page())).items
        pointing = {alias.name.alias: alias.version.number for alias in aliases if alias.version}
        assert pointing == self.model.aliases

    @invariant()
    def the_log_has_no_gap(self) -> None:
        """SEM-58, SEM-16: every move of an alias is an event and a line of its history."""
        if not self.known_drafts:
            return
        events = self.do(self.rig.events())
        assert [event.sequence for event in events] == list(range(1, len(events) + 1))
        moved = [event.happening for event in events if isinstance(event.happening, AliasMoved)]
        seen = [(one.alias.rsplit("/", 1)[1], number_of(one.from_version), number_of(one.to_version)) for one in moved]
        assert seen == self.model.changes


def _run(examples: int, steps: int) -> None:
    run_state_machine_as_test(
        MetadataMachine,
        settings=settings(
            max_examples=examples, stateful_step_count=steps, deadline=None, suppress_health_check=list(HealthCheck)
        ),
    )


def test_the_service_is_what_the_dictionary_says() -> None:
    """R5, the short form."""
    _run(examples=20, steps=30)


@pytest.mark.soak
@pytest.mark.timeout(0)
def test_the_service_is_what_the_dictionary_says_for_long() -> None:
    """R5."""
    _run(examples=10_000, steps=60)
