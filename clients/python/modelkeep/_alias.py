"""Aliases, and the history of where they pointed."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from modelkeep._wire import last, moment
from modelkeep.errors import InvalidArgument
from modelkeep.names import AliasName, CollectionName, parse_version_number

if TYPE_CHECKING:
    from datetime import datetime

    from modelkeep.api.metadata.v1 import alias_pb2


@dataclass(frozen=True, slots=True)
class Alias:
    """A name that points to one version of its collection."""

    collection: str
    alias: str
    version: str
    """`v7`; empty when the alias was just deleted."""
    seq: int
    """Rises with every change of the alias."""
    update_time: datetime
    actor: str
    """The API key that moved it."""
    reason: str

    @classmethod
    def from_pb(cls, message: alias_pb2.Alias) -> Alias:
        """Read a message."""
        name = AliasName.parse(message.name)
        return cls(
            name.collection,
            name.alias,
            last(message.version),
            message.seq,
            moment(message.update_time),
            message.actor,
            message.reason,
        )


@dataclass(frozen=True, slots=True)
class AliasChange:
    """One line of the history of an alias."""

    collection: str
    alias: str
    seq: int
    from_version: str
    """`v6`; empty when the alias did not exist."""
    to_version: str
    """`v7`; empty when the alias was deleted."""
    change_time: datetime
    actor: str
    reason: str

    @classmethod
    def from_pb(cls, message: alias_pb2.AliasChange) -> AliasChange:
        """Read a message."""
        name = AliasName.parse(message.alias)
        return cls(
            name.collection,
            name.alias,
            message.seq,
            last(message.from_version),
            last(message.to_version),
            moment(message.change_time),
            message.actor,
            message.reason,
        )


def expect_in(move: alias_pb2.AliasMove, collection: CollectionName, expect: str | None) -> None:
    """Put into `move` what the caller believes: `v6`, or `none` for an alias that must not exist. Raises InvalidName."""
    if expect is None:
        return
    if expect == "none":
        move.must_not_exist = True
    elif not expect:
        message = "an empty expectation could mean anything; give 'v6', or 'none' for an alias that must not exist"
        raise InvalidArgument(message, field="expect")
    else:
        move.expected_version = str(collection.version(parse_version_number(expect)))
