"""The size and the cleanliness of the house: where a rule is broken, the reason stands here."""

import re

import pytest

from tests.house.repository import PRODUCT, files, functions, python_files, relative

MAX_FILE_LINES = 400
MAX_FUNCTION_LINES = 40
MAX_SERVICER_METHOD_LINES = 12

LONG_FILES = {
    "clients/python/modelkeep/errors.py": "one class per reason: a table, read by looking up",
}
LONG_FUNCTIONS: dict[str, str] = {}
MIGRATIONS = "/store/migrations/versions/"
"""A migration is a list of columns."""

UNFINISHED = re.compile(r"\b(TO" + r"DO|FIX" + r"ME|XX" + r"X)\b")
# A path of somebody's machine, or the address of a package registry.
MACHINES = re.compile(r"(?<![\w.}*$/-])/((root|work|Users)/\w|home/(?!me/)\w)|\b(pypi|pythonhosted|npmjs)\.(org|com)\b")
TEXT = {".py", ".proto", ".md", ".toml", ".txt", ".yaml", ".yml", ".json", ".ini", ".mako", ".sh", ""}


def _breaches(found, most, allowed):
    return {name: lines for name, lines in found if lines > most and name not in allowed}


def test_files_are_short():
    found = ((relative(path), len(path.read_text().splitlines())) for path in python_files(*PRODUCT, "tests"))
    assert _breaches(found, MAX_FILE_LINES, LONG_FILES) == {}


def test_functions_are_short():
    found = (item for path in python_files(*PRODUCT) if MIGRATIONS not in relative(path) for item in functions(path))
    assert _breaches(found, MAX_FUNCTION_LINES, LONG_FUNCTIONS) == {}


def test_servicer_methods_parse_call_and_convert():
    servicers = [p for p in python_files("services/modelkeep_server") if "servicer" in relative(p)]
    found = (item for path in servicers for item in functions(path) if re.search(r":[A-Z]", item[0]))
    assert _breaches(found, MAX_SERVICER_METHOD_LINES, {}) == {}


def test_exceptions_are_still_needed():
    lines = {relative(path): len(path.read_text().splitlines()) for path in python_files(*PRODUCT)}
    assert [name for name in LONG_FILES if lines.get(name, 0) <= MAX_FILE_LINES] == []
    sizes = dict(item for path in python_files(*PRODUCT) for item in functions(path))
    assert [name for name in LONG_FUNCTIONS if sizes.get(name, 0) <= MAX_FUNCTION_LINES] == []


@pytest.mark.parametrize(("pattern", "what"), [(UNFINISHED, "an unfinished spot"), (MACHINES, "a machine or registry")])
def test_no_file_holds(pattern, what):
    found = [
        f"{relative(path)}:{number}: {line.strip()[:120]}"
        for path in files()
        if path.suffix in TEXT
        for number, line in enumerate(path.read_text().splitlines(), 1)
        if pattern.search(line)
    ]
    assert found == [], what


def test_rooms_of_one_name_hold_one_thing():
    """HOUSE 2 and 6: shared code lives where its subject is, never in a drawer."""
    drawers = {"utils", "common", "helpers", "lib", "core", "shared", "deploy", "scripts"}
    assert [relative(path) for path in files() if drawers & {*path.parent.parts, path.stem}] == []
