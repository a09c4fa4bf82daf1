"""Addresses: how people name a version, `[[team/]project/]name[:ref][@pin]` (SEM-3), and the moments in them."""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import UTC, date, datetime, time

from modelkeep.errors import InvalidAddress
from modelkeep.names import LATEST, LIKE_VERSION, VERSION, CollectionName, parse_alias, shown

_DIGEST_PIN = re.compile(r"sha256:([0-9a-f]{8,64})")


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
        if not isinstance(text, str):
            raise InvalidAddress(f"the address is {shown(text)}; expected text: [[team/]project/]name[:ref][@pin]")
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
        number = int(ref[1:]) if VERSION.fullmatch(ref) else None
        if ref and number is None:
            if LIKE_VERSION.fullmatch(ref):
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


def is_date(text: str) -> bool:
    """Whether a moment is written as a date alone."""
    return re.fullmatch(r"\d{4}-\d{2}-\d{2}", text) is not None


def parse_moment(text: str, address: str = "") -> datetime:
    """Read an RFC 3339 time, or a date, which means the end of that day (UTC). Raises InvalidAddress."""
    try:
        if is_date(text):
            return datetime.combine(date.fromisoformat(text), time.max, UTC)
        if re.fullmatch(r"\d{4}-\d{2}-\d{2}[Tt ]\d{2}:\d{2}:\d{2}(\.\d{1,6})?([Zz]|[+-]\d{2}:\d{2})", text):
            return datetime.fromisoformat(text.upper()).astimezone(UTC)
    except (ValueError, OverflowError):
        pass
    message = (
        f"{shown(text)} is no moment: expected a date (2026-03-01) or an RFC 3339 time with its zone (2026-03-01T12:00:00Z)"
    )
    raise InvalidAddress(message, address=(address or text)[:200])


def _bad_address(text: str, why: str) -> InvalidAddress:
    return InvalidAddress(
        f"{shown(text)} is not an address: {why}; expected [[team/]project/]name[:ref][@pin]", address=text[:200]
    )


def format_moment(moment: datetime) -> str:
    """The RFC 3339 form of a time, in UTC."""
    return moment.astimezone(UTC).isoformat().replace("+00:00", "Z")
