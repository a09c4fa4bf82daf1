"""What `docs/filter.md` says is what the language does: its examples are read, and every field is there."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from modelkeep_server.filtering.parser import parse_query
from modelkeep_server.lineage.convert.search import RUN_FIELDS
from modelkeep_server.metadata.convert.search import COLLECTION_FIELDS, VERSION_FIELDS

PAGE = (Path(__file__).parents[3] / "docs" / "filter.md").read_text()
VERSIONS = PAGE[PAGE.index("## Fields of versions") : PAGE.index("## Fields of collections")]
COLLECTIONS = PAGE[PAGE.index("## Fields of collections") : PAGE.index("## Fields of runs")]
RUNS = PAGE[PAGE.index("## Fields of runs") : PAGE.index("## How values compare")]


def blocks(language: str) -> list[str]:
    """The lines of all blocks of a language."""
    return [line for block in re.findall(rf"```{language}\n(.*?)```", PAGE, re.DOTALL) for line in block.splitlines() if line]


def cells(section: str, column: int) -> list[str]:
    """What stands in backticks in a column of the table of a section."""
    rows = [line.split("|") for line in section.splitlines() if line.startswith("| `")]
    return [text for row in rows for text in re.findall(r"`([^`]+)`", row[column])]


@pytest.mark.parametrize("text", blocks("filter") + cells(VERSIONS, 3))
def test_filters_of_versions_are_read(text: str) -> None:
    parse_query(text, "", VERSION_FIELDS)


@pytest.mark.parametrize("text", cells(COLLECTIONS, 3))
def test_filters_of_collections_are_read(text: str) -> None:
    parse_query(text, "", COLLECTION_FIELDS)


@pytest.mark.parametrize("text", cells(RUNS, 3))
def test_filters_of_runs_are_read(text: str) -> None:
    parse_query(text, "", RUN_FIELDS)


@pytest.mark.parametrize("text", blocks("order"))
def test_orders_are_read(text: str) -> None:
    assert parse_query("", text, VERSION_FIELDS).order


def test_every_field_is_documented() -> None:
    assert {name.partition(".")[0] for name in cells(VERSIONS, 1)} == set(VERSION_FIELDS)
    assert set(cells(COLLECTIONS, 1)) == set(COLLECTION_FIELDS)
    assert {name.partition(".")[0] for name in cells(RUNS, 1)} == set(RUN_FIELDS)
