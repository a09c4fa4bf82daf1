"""Names of things, parsed once at the door: resource names, aliases, tags and addresses (SEM-1 to 5)."""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from difflib import get_close_matches
from typing import TYPE_CHECKING, ClassVar, Final, Self
from uuid import UUID

from modelkeep.errors import InvalidAddress, InvalidAlias, InvalidName, InvalidTag

if TYPE_CHECKING:
    from collections.abc import Iterable

LATEST: Final = "latest"
"""The derived alias of the highest live version; nobody sets it by hand (SEM-18)."""

_IDENTIFIER = re.compile(r"[A-Za-z0-9_.-]{1,128}")
_VERSION = re.compile(r"v(0|[1-9][0-9]{0,8})")
_LIKE_VERSION = re.compile(r"[vV][0-9]+")
_ALIAS_FORBIDDEN = re.compile(r"[/:@#?%\x00-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff]")
_TAG = re.compile(r"[-\w]+( +[-\w]+)*")
_DIGEST_PIN = re.compile(r"sha256:([0-9a-f]{8,64})")
MAX_TAG_CHARACTERS: Final = 128
MAX_TYPE_CHARACTERS: Final = 128


def _shown(text: str) -> str:
    return repr(text if len(text) <= 80 else text[:77] + "…")


def parse_identifier(text: str, what: str = "name") -> str:
    """Check the name of a team, project, collection, run or type (SEM-1). Raises InvalidName."""
    if _IDENTIFIER.fullmatch(text) is None or text in {".", ".."}:
        message = f"{_shown(text)} is not a {what}: use 1 to 128 of A-Z a-z 0-9 _ . - (and not '.' or '..')"
        raise InvalidName(message, field=what, value=text[:200])
    return text


def parse_alias(text: str) -> str:
    """Check an alias (SEM-4). `latest` is well formed; who may not set it says so. Raises InvalidAlias."""
    if not 1 <= len(text) <= 128 or text != text.strip() or _ALIAS_FORBIDDEN.search(text):
        message = f"{_shown(text)} is not an alias: use 1 to 128 characters, no white space at the ends, none of / : @ # ? %"
        raise InvalidAlias(message, alias=text[:200])
    if _LIKE_VERSION.fullmatch(text):
        raise InvalidAlias(f"{text!r} is not an alias: it reads like a version number", alias=text)
    return text


def parse_tag(text: str) -> str:
    """Check a tag (SEM-5). Raises InvalidTag."""
    if len(text) > MAX_TAG_CHARACTERS or _TAG.fullmatch(text) is None:
        message = f"{_shown(text)} is not a tag: use words of letters, digits, _ and -, with single spaces or more between"
        raise InvalidTag(message, tag=text[:200])
    return text


def parse_version_number(text: str) -> int:
    """Read `v12`. Raises InvalidName."""
    match = _VERSION.fullmatch(text)
    if match is None:
        raise InvalidName(f"{_shown(text)} is not a version: expected 'v' and a number", field="version", value=text[:200])
    return int(match[1])


def nearest(wanted: str, existing: Iterable[str]) -> str:
    """The name among `existing` that `wanted` was most likely meant to be, or an empty string."""
    return next(iter(get_close_matches(wanted, list(existing), n=1, cutoff=0.6)), "")


def _parts(cls: type, text: str, pattern: str) -> list[str]:
    """The variable parts of a resource name, by a pattern such as `teams/*/projects/*`."""
    expected, found = pattern.split("/"), text.split("/")
    fits = len(expected) == len(found) and all(e in {"*", f} for e, f in zip(expected, found, strict=True))
    if not fits:
        readable = "/".join(f"{{{expected[i - 1].rstrip('s')}}}" if e == "*" else e for i, e in enumerate(expected))
        message = f"{_shown(text)} is not a {cls.__name__}: expected '{readable}'"
        raise InvalidName(message, field="name", value=text[:200])
    return [f for e, f in zip(expected, found, strict=True) if e == "*"]


def _uuid(text: str, what: str) -> str:
    try:
        if str(UUID(text)) == text:
            return text
    except ValueError:
        pass
    raise InvalidName(f"{_shown(text)} is not the id of a {what}: expected a UUID", field=what, value=text[:200])


@dataclass(frozen=True, slots=True, order=True)
class TeamName:
    """`teams/{team}`."""

    pattern: ClassVar[str] = "teams/*"
    team: str

    def __post_init__(self) -> None:
        parse_identifier(self.team, "team name")

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read a resource name. Raises InvalidName."""
        return cls(*_parts(cls, text, cls.pattern))

    def __str__(self) -> str:
        return f"teams/{self.team}"


@dataclass(frozen=True, slots=True, order=True)
class ProjectName:
    """`teams/{team}/projects/{project}`."""

    pattern: ClassVar[str] = "teams/*/projects/*"
    team: str
    project: str

    def __post_init__(self) -> None:
        parse_identifier(self.team, "team name")
        parse_identifier(self.project, "project name")

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read a resource name. Raises InvalidName."""
        return cls(*_parts(cls, text, cls.pattern))

    def __str__(self) -> str:
        return f"teams/{self.team}/projects/{self.project}"


@dataclass(frozen=True, slots=True, order=True)
class CollectionName:
    """`teams/{team}/projects/{project}/collections/{collection}`."""

    pattern: ClassVar[str] = "teams/*/projects/*/collections/*"
    team: str
    project: str
    collection: str

    def __post_init__(self) -> None:
        parse_identifier(self.team, "team name")
        parse_identifier(self.project, "project name")
        parse_identifier(self.collection, "collection name")

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read a resource name. Raises InvalidName."""
        return cls(*_parts(cls, text, cls.pattern))

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

    def __str__(self) -> str:
        return f"teams/{self.team}/projects/{self.project}/collections/{self.collection}"


@dataclass(frozen=True, slots=True, order=True)
class VersionName:
    """`teams/{team}/projects/{project}/collections/{collection}/versions/v{number}`."""

    pattern: ClassVar[str] = "teams/*/projects/*/collections/*/versions/*"
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
        team, project, collection, version = _parts(cls, text, cls.pattern)
        return cls(team, project, collection, parse_version_number(version))

    @property
    def parent(self) -> CollectionName:
        """The collection."""
        return CollectionName(self.team, self.project, self.collection)

    @property
    def short(self) -> str:
        """As people write it: `digits:v3`."""
        return f"{self.collection}:v{self.number}"

    def __str__(self) -> str:
        return f"{self.parent}/versions/v{self.number}"


@dataclass(frozen=True, slots=True, order=True)
class AliasName:
    """`teams/{team}/projects/{project}/collections/{collection}/aliases/{alias}`."""

    pattern: ClassVar[str] = "teams/*/projects/*/collections/*/aliases/*"
    team: str
    project: str
    collection: str
    alias: str

    def __post_init__(self) -> None:
        CollectionName(self.team, self.project, self.collection)
        parse_alias(self.alias)

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read a resource name. Raises InvalidName, InvalidAlias."""
        return cls(*_parts(cls, text, cls.pattern))

    @property
    def parent(self) -> CollectionName:
        """The collection."""
        return CollectionName(self.team, self.project, self.collection)

    def __str__(self) -> str:
        return f"{self.parent}/aliases/{self.alias}"


@dataclass(frozen=True, slots=True, order=True)
class DraftName:
    """`teams/{team}/projects/{project}/drafts/{uuid}`."""

    pattern: ClassVar[str] = "teams/*/projects/*/drafts/*"
    team: str
    project: str
    draft: str

    def __post_init__(self) -> None:
        ProjectName(self.team, self.project)
        _uuid(self.draft, "draft")

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read a resource name. Raises InvalidName."""
        return cls(*_parts(cls, text, cls.pattern))

    @property
    def parent(self) -> ProjectName:
        """The project."""
        return ProjectName(self.team, self.project)

    def __str__(self) -> str:
        return f"{self.parent}/drafts/{self.draft}"


@dataclass(frozen=True, slots=True, order=True)
class RunName:
    """`teams/{team}/projects/{project}/runs/{run}`."""

    pattern: ClassVar[str] = "teams/*/projects/*/runs/*"
    team: str
    project: str
    run: str

    def __post_init__(self) -> None:
        ProjectName(self.team, self.project)
        parse_identifier(self.run, "run id")

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read a resource name. Raises InvalidName."""
        return cls(*_parts(cls, text, cls.pattern))

    def __str__(self) -> str:
        return f"teams/{self.team}/projects/{self.project}/runs/{self.run}"


@dataclass(frozen=True, slots=True, order=True)
class LeaseName:
    """`teams/{team}/leases/{uuid}`."""

    pattern: ClassVar[str] = "teams/*/leases/*"
    team: str
    lease: str

    def __post_init__(self) -> None:
        TeamName(self.team)
        _uuid(self.lease, "lease")

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read a resource name. Raises InvalidName."""
        return cls(*_parts(cls, text, cls.pattern))

    def __str__(self) -> str:
        return f"teams/{self.team}/leases/{self.lease}"


@dataclass(frozen=True, slots=True, order=True)
class ApiKeyName:
    """`teams/{team}/apiKeys/{id}`."""

    pattern: ClassVar[str] = "teams/*/apiKeys/*"
    team: str
    key: str

    def __post_init__(self) -> None:
        TeamName(self.team)
        parse_identifier(self.key, "API key id")

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read a resource name. Raises InvalidName."""
        return cls(*_parts(cls, text, cls.pattern))

    def __str__(self) -> str:
        return f"teams/{self.team}/apiKeys/{self.key}"


@dataclass(frozen=True, slots=True)
class Address:
    """How people name a version: `[[team/]project/]name[:ref][@pin]` (SEM-3). Exactly one way to find it is set."""

    collection: CollectionName
    alias: str = ""
    """An alias, or `latest`; empty when a number or a digest is given."""
    number: int | None = None
    """The number of `vN`."""
    digest_prefix: str = ""
    """8 to 64 hex digits of the version digest."""
    moment: datetime | None = None
    """With an alias: as of then. A date is the last microsecond of that day, UTC."""

    @classmethod
    def parse(cls, text: str, team: str, project: str) -> Address:
        """Read an address; `team` and `project` stand for what it leaves out. Raises InvalidArgument."""
        folder, slash, last = text.rpartition("/")
        parents = folder.split("/") if slash else []
        if len(parents) > 2 or "" in parents or any(c in part for part in parents for c in ":@"):
            raise _bad_address(text, "at most team and project may stand before the name")
        match parents:
            case [one]:
                project = one
            case [first, second]:
                team, project = first, second
        name, ref, pin = _cut(text, last)
        collection = CollectionName(team, project, name)
        number = int(ref[1:]) if _VERSION.fullmatch(ref) else None
        if ref and number is None:
            if _LIKE_VERSION.fullmatch(ref):
                raise _bad_address(
                    text, f"{ref!r} reads like a version, but is not written as 'v' and a number without zeros in front"
                )
            parse_alias(ref)
        if not pin:
            return cls(collection, number=number) if number is not None else cls(collection, alias=ref or LATEST)
        if pin.startswith("sha256:"):
            if ref or _DIGEST_PIN.fullmatch(pin) is None:
                raise _bad_address(text, "a digest pin is 'sha256:' and 8 to 64 hex digits, without ':ref' before it")
            return cls(collection, digest_prefix=pin.removeprefix("sha256:"))
        if number is not None:
            raise _bad_address(text, "a numbered version never changes, so it takes no moment")
        return cls(collection, alias=ref or LATEST, moment=parse_moment(pin, text))


def _cut(text: str, last: str) -> tuple[str, str, str]:
    """Name, ref and pin of the part after the last slash: cut at the first `:` or `@`."""
    match = re.match(r"([^:@]*)(?::([^@]*))?(?:@(.*))?", last, re.DOTALL)
    if match is None or match.end() != len(last):  # pragma: no cover - the pattern takes everything
        raise _bad_address(text, "it cannot be cut into name, ref and pin")
    name, ref, pin = match.groups()
    if not name or ref == "" or pin == "":
        raise _bad_address(text, "the name, and what follows ':' or '@', must not be empty")
    return name, ref or "", pin or ""


def parse_moment(text: str, address: str = "") -> datetime:
    """Read an RFC 3339 time, or a date, which means the end of that day (UTC). Raises InvalidAddress."""
    try:
        if re.fullmatch(r"\d{4}-\d{2}-\d{2}", text):
            return datetime.combine(date.fromisoformat(text), time.max, UTC)
        if re.fullmatch(r"\d{4}-\d{2}-\d{2}[Tt ]\d{2}:\d{2}:\d{2}(\.\d{1,6})?([Zz]|[+-]\d{2}:\d{2})", text):
            return datetime.fromisoformat(text.upper()).astimezone(UTC)
    except (ValueError, OverflowError):
        pass
    message = (
        f"{_shown(text)} is no moment: expected a date (2026-03-01) or an RFC 3339 time with its zone (2026-03-01T12:00:00Z)"
    )
    raise InvalidAddress(message, address=(address or text)[:200])


def _bad_address(text: str, why: str) -> InvalidAddress:
    return InvalidAddress(
        f"{_shown(text)} is not an address: {why}; expected [[team/]project/]name[:ref][@pin]", address=text[:200]
    )


def format_moment(moment: datetime) -> str:
    """The RFC 3339 form of a time, in UTC."""
    return moment.astimezone(UTC).isoformat().replace("+00:00", "Z")


ONE_MICROSECOND: Final = timedelta(microseconds=1)
"""The resolution of every time that is stored."""
