"""Drafts: versions in the making, and the body that commits one."""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict, dataclass
from datetime import datetime
from enum import Enum

from modelkeep.digest import Digest
from modelkeep.errors import DraftCommitted, DraftNotOpen
from modelkeep.names import CollectionName, DraftName, RunName, VersionName

from modelkeep_server.metadata.domain.manifest import Manifest
from modelkeep_server.metadata.domain.rule import Comparison, Yardstick
from modelkeep_server.metadata.domain.version import Origin, Version


class DraftState(Enum):
    """Where a draft stands (SEM-8)."""

    OPEN = "open"
    COMMITTED = "committed"
    ABORTED = "aborted"
    EXPIRED = "expired"


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of a committed draft: the answer that the same body gets again (SEM-14)."""

    version: VersionName
    fingerprint: bytes
    deduplicated: bool
    ignored_fields: tuple[str, ...]
    comparison: Comparison | None = None
    """Set when it was to be better than the best version; `version` is that one when it was not."""

    @property
    def fate(self) -> str:
        """What became of the draft, in words."""
        if self.comparison and not self.comparison.is_better:
            return f"is committed, and was not better than {self.version.short}"
        return f"is committed, as {self.version.short}"


@dataclass(frozen=True, slots=True)
class Base:
    """What a draft began with."""

    version: VersionName
    """By the name that it had then; it may be deleted meanwhile."""
    layout: Digest | None
    """Names its manifest, which the draft keeps for as long as it is open."""
    entry_count: int = 0
    """Known only while the draft is opened."""


@dataclass(frozen=True, slots=True)
class NewDraft:
    """A draft to open."""

    name: DraftName
    collection: CollectionName
    type: str
    creator: str
    base: Base | None = None
    distributed_id: str = ""
    """What the writers of one version call it (SEM-42); empty when nobody needs to find it."""


@dataclass(frozen=True, slots=True)
class Draft:
    """A draft collects the entries of a version until it is committed or ends."""

    name: DraftName
    collection: CollectionName
    type: str
    state: DraftState
    create_time: datetime
    expire_time: datetime
    entry_count: int
    layout: Digest | None
    """Names its manifest once it is sealed; None again when its entries changed. Never leaves the service."""
    outcome: Outcome | None
    revision: int = 0
    """Rises whenever its entries change. Never leaves the service."""
    base: Base | None = None
    distributed_id: str = ""
    creator: str = ""

    @property
    def version(self) -> VersionName | None:
        """What it became."""
        return self.outcome.version if self.outcome else None

    def require_open(self) -> None:
        """Raise DraftNotOpen unless it takes entries and can be committed."""
        if self.outcome is not None:
            version = self.outcome.version
            message = f"the draft {self.name.draft} {self.outcome.fate}; open a new one, with that as its base"
            raise DraftNotOpen(message, draft=str(self.name), state=self.state.value, version=str(version))
        if self.state is not DraftState.OPEN:
            message = f"the draft {self.name.draft} is {self.state.value}; open a new one and add the entries again"
            raise DraftNotOpen(message, draft=str(self.name), state=self.state.value)

    def require_shared(self, wish: NewDraft) -> None:
        """Raise DraftNotOpen unless a writer who asks for its `distributed_id` means what it is (SEM-42)."""
        why = ""
        if self.state in {DraftState.ABORTED, DraftState.EXPIRED}:
            why = f"is {self.state.value}"
        elif self.type != wish.type:
            why = f"has the type {self.type!r}, not {wish.type!r}"
        elif not self._began_with(wish.base):
            theirs, yours = (base.version.short if base else "no version" for base in (self.base, wish.base))
            why = f"began with {theirs}, not with {yours}"
        if why:
            message = f"the draft with the distributed id {self.distributed_id!r} {why}; use another id"
            about = {"draft": str(self.name), "state": self.state.value, "distributed_id": self.distributed_id}
            raise DraftNotOpen(message, **about)

    def _began_with(self, base: Base | None) -> bool:
        if self.base is None or base is None:
            return self.base is base
        if self.base.version == base.version:
            return True
        return base.layout is not None and self.base.layout == base.layout  # it was renamed meanwhile

    def answer_to(self, commit: Commit) -> Outcome | None:
        """What a commit with this body is answered, if the draft is committed already. Raises DraftCommitted (SEM-14)."""
        if self.outcome and self.outcome.fingerprint != commit.fingerprint:
            fate = self.outcome.fate
            message = f"the draft {self.name.draft} {fate}, by another body; open a new draft to log again"
            raise DraftCommitted(message, draft=str(self.name), version=str(self.outcome.version))
        return self.outcome


@dataclass(frozen=True, slots=True)
class Commit:
    """The body of a commit: the words around the new version, and what points to it. Checked on entry."""

    aliases: tuple[str, ...] = ()
    """Without `latest`, which moves by itself; sorted, each once."""
    tags: tuple[str, ...] = ()
    description: str = ""
    notes: str = ""
    metadata_json: str = "{}"
    """In the one form that `modelkeep.metadata.encode` gives it."""
    run: RunName | None = None
    run_display_name: str = ""
    only_if_better: Yardstick | None = None
    """By which number it has to be better than every live version."""

    @property
    def fingerprint(self) -> bytes:
        """The same for the same body: a draft commits once (SEM-14)."""
        body = asdict(self) | {"run": str(self.run or "")}
        del body["only_if_better"]  # without one, the fingerprint is that of a release that did not know it
        if better := self.only_if_better:
            body["only_if_better"] = [better.key, better.goal.value]
        return hashlib.sha256(json.dumps(body, sort_keys=True).encode()).digest()

    @property
    def words(self) -> tuple[str, ...]:
        """Which fields a deduplicated version will not take over (SEM-11)."""
        given = {
            "tags": self.tags,
            "description": self.description,
            "notes": self.notes,
            "metadata_json": self.metadata_json if self.metadata_json != "{}" else "",
        }
        return tuple(field for field, value in given.items() if value)


@dataclass(frozen=True, slots=True)
class Removed:
    """The answer to a removal of entries."""

    entry_count: int
    """How many went."""


@dataclass(frozen=True, slots=True)
class Committed:
    """The answer to a commit."""

    version: Version
    deduplicated: bool
    ignored_fields: tuple[str, ...]
    comparison: Comparison | None = None
    """What was compared, if it was to be better than the best version; that is `version` when it was not."""


@dataclass(frozen=True, slots=True)
class NewVersion:
    """What a commit writes of a version that did not exist before."""

    name: VersionName
    uid: str
    manifest: Manifest
    is_target: bool
    """Whether later commits of the same digest are answered with this version (SEM-13)."""
    is_verified: bool
    """Whether every file is one whole chunk, or empty, so that its digest is proven already (SEM-24)."""
    commit: Commit
    creator: str
    origin: Origin | None = None
    """Where it was copied from."""
