"""Aliases on the wire."""

from __future__ import annotations

from collections.abc import Iterable

from modelkeep.api.metadata.v1 import alias_pb2 as alias_pb
from modelkeep.names import VersionName

from modelkeep_server.metadata.domain.alias import Alias, AliasChange, AliasMove
from modelkeep_server.runtime.moments import to_timestamp


def moves_from_pb(moves: Iterable[alias_pb.AliasMove]) -> tuple[AliasMove, ...]:
    """The wishes of a batch. Raises InvalidName."""
    return tuple(
        AliasMove(
            alias=move.alias,
            version=VersionName.parse(move.version) if move.version else None,
            expected_version=VersionName.parse(move.expected_version) if move.HasField("expected_version") else None,
            must_not_exist=move.must_not_exist,
        )
        for move in moves
    )


def alias_to_pb(alias: Alias) -> alias_pb.Alias:
    """An alias."""
    return alias_pb.Alias(
        name=str(alias.name),
        version=str(alias.version or ""),
        seq=alias.seq,
        update_time=to_timestamp(alias.update_time),
        actor=alias.actor,
        reason=alias.reason,
        etag=str(alias.seq),
    )


def change_to_pb(change: AliasChange) -> alias_pb.AliasChange:
    """One line of the history of an alias."""
    return alias_pb.AliasChange(
        alias=str(change.alias),
        seq=change.seq,
        from_version=str(change.from_version or ""),
        to_version=str(change.to_version or ""),
        change_time=to_timestamp(change.change_time),
        actor=change.actor,
        reason=change.reason,
    )
