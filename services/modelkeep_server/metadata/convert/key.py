"""API keys on the wire."""

from __future__ import annotations

from modelkeep.api.metadata.v1 import key_pb2 as key_pb
from modelkeep.api.metadata.v1 import metadata_service_pb2 as pb
from modelkeep.errors import InvalidArgument
from modelkeep.names import TeamName

from modelkeep_server.metadata.domain.key import ApiKey, Exchanged, KeyRole, KeyWish
from modelkeep_server.runtime.moments import from_timestamp, to_duration, to_timestamp

_ROLES = {KeyRole.READ: key_pb.ROLE_READ, KeyRole.WRITE: key_pb.ROLE_WRITE, KeyRole.ADMIN: key_pb.ROLE_ADMIN}


def wish_from_pb(key: key_pb.ApiKey) -> KeyWish:
    """The key that somebody wants. Raises InvalidArgument, InvalidName."""
    role = next((role for role, number in _ROLES.items() if number == key.role), None)
    if role is None:
        raise InvalidArgument("the key has no role; choose ROLE_READ, ROLE_WRITE or ROLE_ADMIN", field="role", value=key.role)
    readable = tuple(sorted({TeamName.parse(team) for team in key.readable_teams}))
    expire_time = from_timestamp(key.expire_time, "expire_time") if key.HasField("expire_time") else None
    return KeyWish(role, readable, key.display_name, expire_time)


def key_to_pb(key: ApiKey) -> key_pb.ApiKey:
    """An API key."""
    return key_pb.ApiKey(
        name=str(key.name),
        display_name=key.display_name,
        role=role_to_pb(key.role),
        readable_teams=[str(team) for team in key.readable_teams],
        create_time=to_timestamp(key.create_time),
        expire_time=to_timestamp(key.expire_time),
        revoke_time=to_timestamp(key.revoke_time),
    )


def exchanged_to_pb(exchanged: Exchanged) -> pb.ExchangeApiKeyResponse:
    """An access token and what it allows."""
    return pb.ExchangeApiKeyResponse(
        access_token=exchanged.token,
        lifetime=to_duration(exchanged.lifetime),
        team=str(TeamName(exchanged.team)) if exchanged.team else "",
        role=role_to_pb(exchanged.role),
    )


def role_to_pb(role: KeyRole | None) -> key_pb.Role:
    """A role; of a service, which has none, unspecified."""
    return key_pb.ROLE_UNSPECIFIED if role is None else _ROLES[role]
