"""SEM-1, 3, 4, 5: names, addresses, aliases and tags are parsed once, and nothing is repaired."""

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from modelkeep import address as addresses
from modelkeep import names
from modelkeep.errors import BY_REASON, InvalidAddress, InvalidAlias, InvalidArgument, InvalidName, InvalidTag

from tests.vectors import load

VECTORS = load("names.json")
IDENTIFIERS = st.from_regex(r"[A-Za-z0-9_.-]{1,128}", fullmatch=True).filter(lambda text: text not in {".", ".."})
ALIASES = st.sampled_from(VECTORS["aliases"]["valid"])
MOMENTS = st.datetimes(datetime(1970, 1, 1), datetime(2200, 1, 1), timezones=st.just(UTC))  # noqa: DTZ001 - bounds are naive


@pytest.mark.parametrize("text", VECTORS["identifiers"]["valid"])
def test_identifiers(text):
    assert names.parse_identifier(text) == text


@pytest.mark.parametrize("text", VECTORS["identifiers"]["invalid"])
def test_what_is_no_identifier_is_refused(text):
    with pytest.raises(InvalidName, match="is not a collection name"):
        names.parse_identifier(text, "collection name")


@pytest.mark.parametrize("text", VECTORS["aliases"]["valid"])
def test_aliases(text):
    assert names.parse_alias(text) == text


@pytest.mark.parametrize("text", [*VECTORS["aliases"]["invalid"], "a\ud800"])
def test_what_is_no_alias_is_refused(text):
    with pytest.raises(InvalidAlias):
        names.parse_alias(text)


@pytest.mark.parametrize("text", VECTORS["tags"]["valid"])
def test_tags(text):
    assert names.parse_tag(text) == text


@pytest.mark.parametrize("text", VECTORS["tags"]["invalid"])
def test_what_is_no_tag_is_refused(text):
    with pytest.raises(InvalidTag):
        names.parse_tag(text)


@pytest.mark.parametrize(("text", "number"), VECTORS["versions"]["valid"].items())
def test_version_numbers(text, number):
    assert names.parse_version_number(text) == number


@pytest.mark.parametrize("text", VECTORS["versions"]["invalid"])
def test_what_is_no_version_number_is_refused(text):
    with pytest.raises(InvalidName):
        names.parse_version_number(text)


@pytest.mark.parametrize("vector", VECTORS["addresses"]["valid"], ids=lambda v: v["text"])
def test_addresses(vector):
    """SEM-3."""
    address = addresses.Address.parse(vector["text"], VECTORS["addresses"]["team"], VECTORS["addresses"]["project"])
    found = {
        "text": vector["text"],
        "collection": str(address.collection),
        "alias": address.alias or None,
        "number": address.number,
        "digest_prefix": address.digest_prefix or None,
        "moment": addresses.format_moment(address.moment) if address.moment else None,
    }
    assert {key: value for key, value in found.items() if value is not None} == vector


@pytest.mark.parametrize("vector", VECTORS["addresses"]["invalid"], ids=lambda v: repr(v["text"][:30]))
def test_what_is_no_address_is_refused(vector):
    with pytest.raises(InvalidArgument) as caught:
        addresses.Address.parse(vector["text"], VECTORS["addresses"]["team"], VECTORS["addresses"]["project"])
    assert type(caught.value) is BY_REASON[vector["reason"]]


@pytest.mark.parametrize("vector", VECTORS["resource_names"]["valid"], ids=lambda v: v["text"])
def test_resource_names(vector):
    parsed = getattr(names, vector["kind"]).parse(vector["text"])
    assert str(parsed) == vector["text"]
    assert len(vector["text"].split("/")) == len(parsed.pattern.split("/"))


@pytest.mark.parametrize("vector", VECTORS["resource_names"]["invalid"], ids=lambda v: f"{v['kind']} {v['text']!r}")
def test_what_is_no_resource_name_is_refused(vector):
    with pytest.raises((InvalidName, InvalidAlias)):
        getattr(names, vector["kind"]).parse(vector["text"])


@given(IDENTIFIERS, IDENTIFIERS, IDENTIFIERS, st.integers(0, 999_999_999), ALIASES)
def test_a_resource_name_reads_as_it_is_written(team, project, collection, number, alias):
    collection_name = names.CollectionName(team, project, collection)
    version, alias_name = collection_name.version(number), collection_name.alias(alias)
    assert names.CollectionName.parse(str(collection_name)) == collection_name
    assert names.VersionName.parse(str(version)) == version
    assert version.parent == alias_name.parent == collection_name
    assert names.AliasName.parse(str(alias_name)) == alias_name
    assert version.short == f"{collection}:v{number}"


@given(IDENTIFIERS, IDENTIFIERS, IDENTIFIERS, ALIASES, MOMENTS)
def test_an_address_of_parts_gives_the_parts(team, project, collection, alias, moment):
    text = f"{team}/{project}/{collection}:{alias}@{addresses.format_moment(moment)}"
    address = addresses.Address.parse(text, "unused", "unused")
    assert address == addresses.Address(names.CollectionName(team, project, collection), alias=alias, moment=moment)


@given(st.text() | st.from_regex(r"([a-z./]{0,9}/)?[a-z.]{1,9}(:[a-zA-Z0-9 .]{0,9})?(@[a-z0-9:.+TZ-]{0,30})?", fullmatch=True))
@example("a" * 100_000)
@example("a@" + "9" * 5000)
@example("a@9999-12-31T23:59:59-23:59")
@example("a@0001-01-01T00:00:00+23:59")
def test_an_address_is_read_or_refused_with_one_typed_error(text):
    try:
        address = addresses.Address.parse(text, "acme", "vision")
    except InvalidArgument:
        return
    assert sum([bool(address.alias), address.number is not None, bool(address.digest_prefix)]) == 1
    assert address.moment is None or (address.alias and address.moment.tzinfo is UTC)


@given(st.text(max_size=300))
def test_an_alias_can_always_be_written_in_an_address(text):
    """SEM-4 forbids in an alias what would cut an address elsewhere."""
    try:
        alias = names.parse_alias(text)
    except InvalidAlias:
        return
    assert addresses.Address.parse(f"digits:{alias}", "acme", "vision").alias == alias


def test_a_date_is_the_end_of_that_day():
    """SEM-3."""
    assert addresses.parse_moment("2026-03-01") + timedelta(microseconds=1) == datetime(2026, 3, 2, tzinfo=UTC)
    with pytest.raises(InvalidAddress, match="no moment"):
        addresses.parse_moment("tomorrow")


def test_the_nearest_name_is_suggested_only_when_it_is_near():
    assert names.nearest("prodution", ["best", "production", "staging"]) == "production"
    assert names.nearest("xyz", ["best", "production"]) == ""
    assert names.nearest("best", []) == ""
