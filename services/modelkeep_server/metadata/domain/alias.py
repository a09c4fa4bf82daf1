"""Aliases: names that point to one version, and the history of where they pointed."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from modelkeep.errors import AliasChanged, InvalidAlias, InvalidArgument
from modelkeep.names import LATEST, AliasName, CollectionName, VersionName, parse_alias

MAX_ON_ONE_VERSION: Final = 1000
"""How many aliases may point to one version; all of them are shown with it."""


_MICROSECOND: Final = timedelta(microseconds=1)


@dataclass(frozen=True, slots=True)
class Alias:
    """An alias and where it points; without a version it was deleted."""

    name: AliasName
    version: VersionName | None
    seq: int
    """Rises with each set, move and delete, and never falls (SEM-16)."""
    update_time: datetime
    actor: str
    reason: str


@dataclass(frozen=True, slots=True)
class AliasChange:
    """One line of the history of an alias."""

    alias: AliasName
    seq: int
    from_version: VersionName | None
    to_version: VersionName | None
    change_time: datetime
    actor: str
    reason: str

    @classmethod
    def following(
        cls, before: Alias | None, alias: AliasName, version: VersionName | None, now: datetime, *, actor: str, reason: str
    ) -> AliasChange:
        """The change that follows on what is so now. A clock may stand still or be set back; history never does (SEM-16)."""
        if before is None:
            return cls(alias, 1, None, version, now, actor, reason)
        stamp = max(now, before.update_time + _MICROSECOND)
        return cls(alias, before.seq + 1, before.version, version, stamp, actor, reason)

    @property
    def result(self) -> Alias:
        """The alias after the change."""
        return Alias(self.alias, self.to_version, self.seq, self.change_time, self.actor, self.reason)


@dataclass(frozen=True, slots=True)
class Wish:
    """Where an alias is to point, nowhere without a version, and why."""

    version: VersionName | None
    reason: str


@dataclass(frozen=True, slots=True)
class AliasMove:
    """One wish of a batch: set, move or delete (without a version) an alias, if an expectation holds (SEM-17)."""

    alias: str
    version: VersionName | None
    expected_version: VersionName | None = None
    must_not_exist: bool = False

    def check(self, collection: CollectionName) -> None:
        """Raise InvalidAlias or InvalidArgument unless this is a wish that could ever be granted in `collection`."""
        if parse_alias(self.alias) == LATEST:
            message = f"{LATEST!r} is always the newest version; nobody sets it by hand. Choose another alias"
            raise InvalidAlias(message, alias=LATEST)
        for version in (self.version, self.expected_version):
            if version is not None and version.parent != collection:
                message = f"{version.short} is not a version of {collection.collection}; an alias stays in its collection"
                raise InvalidArgument(message, field="version", value=str(version))
        if self.version is None and self.must_not_exist:
            message = f"the move deletes {self.alias!r} and expects that it does not exist; choose one of the two"
            raise InvalidArgument(message, field="must_not_exist", alias=self.alias)

    def changes(self, current: Alias | None) -> bool:
        """Whether the wish changes anything: a set to where the alias points already does not, and leaves no history.

        A delete of what is not there changes nothing either. Raises AliasChanged when the expectation is stale.
        """
        points_to = current.version if current else None
        if self.must_not_exist and points_to is not None:
            raise self._stale(f"it must not exist, but points to {points_to.short}", points_to)
        if self.expected_version is not None and points_to != self.expected_version:
            now = f"points to {points_to.short}" if points_to else "does not exist"
            raise self._stale(f"it was expected at {self.expected_version.short}, but {now}", points_to)
        return points_to != self.version

    def _stale(self, why: str, current: VersionName | None) -> AliasChanged:
        message = f"the alias {self.alias!r} was not moved: {why}; look again, then decide"
        return AliasChanged(message, alias=self.alias, current=str(current or ""))
