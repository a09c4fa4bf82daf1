"""Names of things, parsed once at the door: resource names, aliases and tags (SEM-1, 4, 5)."""

from __future__ import annotations

import re
from dataclasses import dataclass
from difflib import get_close_matches
from typing import TYPE_CHECKING, ClassVar, Final, Self
from uuid import UUID

from modelkeep.errors import InvalidAlias, InvalidArgument, InvalidName, InvalidTag, LimitExceeded

if TYPE_CHECKING:
    from collections.abc import Iterable

LATEST: Final = "latest"
"""The derived alias of the highest live version; nobody sets it by hand (SEM-18)."""

ANY: Final = "-"
"""In the parent of a list: all projects of a team, or all collections."""

_IDENTIFIER = re.compile(r"[A-Za-z0-9_.-]{1,128}")
VERSION = re.compile(r"v(0|[1-9][0-9]{0,8})")
LIKE_VERSION = re.compile(r"[vV][0-9]+")
_ALIAS_FORBIDDEN = re.compile(r"[/:@#?%\x00-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff]")
_SURROGATE = re.compile(r"[\ud800-\udfff]")
_TAG = re.compile(r"[-\w]+( +[-\w]+)*")
MAX_TAG_CHARACTERS: Final = 128
MAX_LINE_BYTES: Final = 1024
"""Of a reason, a display name, or the text by which a version was asked for."""
MAX_MARKDOWN_BYTES: Final = 64 * 1024
"""Of a description, or of notes."""
MAX_TYPE_CHARACTERS: Final = 128


def kind_of(value: object) -> str:
    """What a value is, with its article: `an int`."""
    name = type(value).__name__
    return f"{'an' if name[:1].lower() in {*'aeiou'} else 'a'} {name}"


def shown(value: object) -> str:
    """A value as an error message quotes it: short, and with nothing that a terminal would obey."""
    if not isinstance(value, str):
        return kind_of(value)
    return repr(value if len(value) <= 80 else value[:77] + "…")


def parse_text(value: object, what: str) -> str:
    """Check that a value is text, and such as can be sent. Raises InvalidArgument."""
    if not isinstance(value, str):
        raise InvalidArgument(f"the {what} is {shown(value)}; expected text", field=what)
    if _SURROGATE.search(value):
        raise InvalidArgument(f"the {what} {shown(value)} has half a character, which UTF-8 cannot hold", field=what)
    return value


def parse_words(text: str, field: str, most: int = MAX_LINE_BYTES) -> str:
    """Check what people write, of at most `most` bytes of UTF-8: so a page of a thousand lines fits into one message.

    Raises LimitExceeded, InvalidArgument for what not every database can hold.
    """
    size = len(text.encode())
    if size > most:
        raise LimitExceeded(f"{field} has {size:,} bytes; at most {most:,} are allowed", field=field, limit=most)
    if "\0" in text:
        raise InvalidArgument(f"{field} has a NUL character, which no text may have", field=field)
    return text


def parse_identifier(text: str, what: str = "name") -> str:
    """Check the name of a team, project, collection, run or type (SEM-1). Raises InvalidName."""
    if not isinstance(text, str) or _IDENTIFIER.fullmatch(text) is None or text in {".", ".."}:
        message = f"{shown(text)} is not a {what}: use 1 to 128 of A-Z a-z 0-9 _ . - (and not '.' or '..')"
        raise InvalidName(message, field=what, value=str(text)[:200])
    return text


def parse_alias(text: str) -> str:
    """Check an alias (SEM-4). `latest` is well formed; who may not set it says so. Raises InvalidAlias."""
    if not isinstance(text, str) or not 1 <= len(text) <= 128 or text != text.strip() or _ALIAS_FORBIDDEN.search(text):
        message = f"{shown(text)} is not an alias: use 1 to 128 characters, no white space at the ends, none of / : @ # ? %"
        raise InvalidAlias(message, alias=str(text)[:200])
    if LIKE_VERSION.fullmatch(text):
        raise InvalidAlias(f"{text!r} is not an alias: it reads like a version number", alias=text)
    return text


def parse_tag(text: str) -> str:
    """Check a tag (SEM-5). Raises InvalidTag."""
    if not isinstance(text, str) or len(text) > MAX_TAG_CHARACTERS or _TAG.fullmatch(text) is None:
        message = f"{shown(text)} is not a tag: use words of letters, digits, _ and -, with single spaces or more between"
        raise InvalidTag(message, tag=str(text)[:200])
    return text


def parse_version_number(text: str) -> int:
    """Read `v12`. Raises InvalidName."""
    match = VERSION.fullmatch(text)
    if match is None:
        raise InvalidName(f"{shown(text)} is not a version: expected 'v' and a number", field="version", value=text[:200])
    return int(match[1])


def nearest(wanted: str, existing: Iterable[str]) -> str:
    """The name among `existing` that `wanted` was most likely meant to be, or an empty string."""
    return next(iter(get_close_matches(wanted, list(existing), n=1, cutoff=0.6)), "")


class ResourceName:
    """The parent of all resource names: values that were checked when they were made, and read as their pattern says."""

    __slots__ = ()
    pattern: ClassVar[str]

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read a resource name. Raises InvalidName."""
        return cls(*cls._parts(text))

    @classmethod
    def _parts(cls, text: str) -> list[str]:
        expected, found = cls.pattern.split("/"), text.split("/")
        pairs = list(zip(expected, found, strict=False))
        if len(expected) != len(found) or any(e != f and e[0] != "{" for e, f in pairs):
            message = f"{shown(text)} is not a {cls.__name__}: expected '{cls.pattern}'"
            raise InvalidName(message, field="name", value=text[:200])
        return [f for e, f in pairs if e[0] == "{"]

    def __str__(self) -> str:
        return "/".join(getattr(self, part[1:-1]) if part[0] == "{" else part for part in self.pattern.split("/"))


def _uuid(text: str, what: str) -> str:
    try:
        if str(UUID(text)) == text:
            return text
    except ValueError:
        pass
    raise InvalidName(f"{shown(text)} is not the id of a {what}: expected a UUID", field=what, value=text[:200])


@dataclass(frozen=True, slots=True, order=True)
class TeamName(ResourceName):
    """`teams/{team}`."""

    pattern: ClassVar[str] = "teams/{team}"
    team: str

    def __post_init__(self) -> None:
        parse_identifier(self.team, "team name")


@dataclass(frozen=True, slots=True, order=True)
class ProjectName(ResourceName):
    """`teams/{team}/projects/{project}`."""

    pattern: ClassVar[str] = "teams/{team}/projects/{project}"
    team: str
    project: str

    def __post_init__(self) -> None:
        parse_identifier(self.team, "team name")
        parse_identifier(self.project, "project name")


@dataclass(frozen=True, slots=True, order=True)
class CollectionName(ResourceName):
    """`teams/{team}/projects/{project}/collections/{collection}`."""

    pattern: ClassVar[str] = "teams/{team}/projects/{project}/collections/{collection}"
    team: str
    project: str
    collection: str

    def __post_init__(self) -> None:
        parse_identifier(self.team, "team name")
        parse_identifier(self.project, "project name")
        parse_identifier(self.collection, "collection name")

    @property
    def parent(self) -> ProjectName:
        """The project."""
        return ProjectName(self.team, self.project)

    def version(self, number: int) -> VersionName:
        """The version of that number."""
        return VersionName(self.team, self.project, self.collection, number)

    def alias(self, alias: str) -> AliasName:
        """The alias of that bare name."""
        return AliasName(self.team, self.project, self.collection, alias)


@dataclass(frozen=True, slots=True, order=True)
class VersionName(ResourceName):
    """`teams/{team}/projects/{project}/collections/{collection}/versions/v{number}`."""

    pattern: ClassVar[str] = "teams/{team}/projects/{project}/collections/{collection}/versions/{version}"
    team: str
    project: str
    collection: str
    number: int

    def __post_init__(self) -> None:
        CollectionName(self.team, self.project, self.collection)
        parse_version_number(f"v{self.number}")

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read a resource name. Raises InvalidName."""
        team, project, collection, version = cls._parts(text)
        return cls(team, project, collection, parse_version_number(version))

    @property
    def parent(self) -> CollectionName:
        """The collection."""
        return CollectionName(self.team, self.project, self.collection)

    @property
    def version(self) -> str:
        """The last part: `v3`."""
        return f"v{self.number}"

    @property
    def short(self) -> str:
        """As people write it: `digits:v3`."""
        return f"{self.collection}:v{self.number}"


@dataclass(frozen=True, slots=True, order=True)
class AliasName(ResourceName):
    """`teams/{team}/projects/{project}/collections/{collection}/aliases/{alias}`."""

    pattern: ClassVar[str] = "teams/{team}/projects/{project}/collections/{collection}/aliases/{alias}"
    team: str
    project: str
    collection: str
    alias: str

    def __post_init__(self) -> None:
        CollectionName(self.team, self.project, self.collection)
        parse_alias(self.alias)

    @property
    def parent(self) -> CollectionName:
        """The collection."""
        return CollectionName(self.team, self.project, self.collection)


@dataclass(frozen=True, slots=True, order=True)
class DraftName(ResourceName):
    """`teams/{team}/projects/{project}/drafts/{uuid}`."""

    pattern: ClassVar[str] = "teams/{team}/projects/{project}/drafts/{draft}"
    team: str
    project: str
    draft: str

    def __post_init__(self) -> None:
        ProjectName(self.team, self.project)
        _uuid(self.draft, "draft")

    @property
    def parent(self) -> ProjectName:
        """The project."""
        return ProjectName(self.team, self.project)


@dataclass(frozen=True, slots=True, order=True)
class RunName(ResourceName):
    """`teams/{team}/projects/{project}/runs/{run}`."""

    pattern: ClassVar[str] = "teams/{team}/projects/{project}/runs/{run}"
    team: str
    project: str
    run: str

    def __post_init__(self) -> None:
        ProjectName(self.team, self.project)
        parse_identifier(self.run, "run id")


@dataclass(frozen=True, slots=True, order=True)
class LeaseName(ResourceName):
    """`teams/{team}/leases/{uuid}`."""

    pattern: ClassVar[str] = "teams/{team}/leases/{lease}"
    team: str
    lease: str

    def __post_init__(self) -> None:
        TeamName(self.team)
        _uuid(self.lease, "lease")


@dataclass(frozen=True, slots=True, order=True)
class ApiKeyName(ResourceName):
    """`teams/{team}/apiKeys/{id}`."""

    pattern: ClassVar[str] = "teams/{team}/apiKeys/{key}"
    team: str
    key: str

    def __post_init__(self) -> None:
        TeamName(self.team)
        parse_identifier(self.key, "API key id")
