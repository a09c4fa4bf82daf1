"""Filters and orders on the wire, and the fields that they may name (`docs/filter.md`)."""

from __future__ import annotations

from typing import Final, Protocol

from modelkeep_server.filtering.expression import Query
from modelkeep_server.filtering.fields import Field, Fields, Kind
from modelkeep_server.filtering.parser import parse_query
from modelkeep_server.metadata.domain.version import VersionState

_NAME: Final = Field(Kind.TEXT, forbidden=":/@", hint='ask for instance name = "digits" AND version = 3')
_WORDS: Final = Field(Kind.TEXT, is_ordered=False)
_TIME: Final = Field(Kind.TIME)
_NUMBER: Final = Field(Kind.NUMBER)
_SIZE: Final = Field(Kind.SIZE)
_FLAG: Final = Field(Kind.FLAG)
_LABELS: Final = Field(Kind.LABELS)

VERSION_FIELDS: Final[Fields] = {
    "name": _NAME,
    "collection": _NAME,
    "project": _NAME,
    "type": Field(Kind.TEXT),
    "version": Field(Kind.VERSION),
    "alias": _LABELS,
    "tag": _LABELS,
    "metadata": Field(Kind.JSON),
    "create_time": _TIME,
    "update_time": _TIME,
    "size": _SIZE,
    "stored_bytes": _SIZE,
    "referenced_bytes": _SIZE,
    "entry_count": _NUMBER,
    "description": _WORDS,
    "notes": _WORDS,
    "creator": Field(Kind.RESOURCE, marker="/apiKeys/"),
    "run": Field(Kind.RESOURCE, marker="/runs/"),
    "run_name": _WORDS,
    "used": _FLAG,
    "use_count": _NUMBER,
    "first_use_time": _TIME,
    "last_use_time": _TIME,
    "verified": _FLAG,
    "verified_time": _TIME,
    "signed": _FLAG,
    "digest": Field(Kind.DIGEST),
    "origin": _WORDS,
    "state": Field(Kind.CHOICE, choices=tuple(state.value for state in VersionState)),
    "delete_time": _TIME,
}
COLLECTION_FIELDS: Final[Fields] = {
    "name": _NAME,
    "project": _NAME,
    "type": Field(Kind.TEXT),
    "alias": _LABELS,
    "description": _WORDS,
    "create_time": _TIME,
    "update_time": _TIME,
    "version_count": _NUMBER,
    "latest_version": Field(Kind.VERSION),
}


class _Filtered(Protocol):
    @property
    def filter(self) -> str: ...
    @property
    def order_by(self) -> str: ...


def version_query(request: _Filtered) -> Query:
    """What a list of versions is asked for. Raises InvalidFilter."""
    return parse_query(request.filter, request.order_by, VERSION_FIELDS)


def collection_query(request: _Filtered) -> Query:
    """What a list of collections is asked for. Raises InvalidFilter."""
    return parse_query(request.filter, request.order_by, COLLECTION_FIELDS)
