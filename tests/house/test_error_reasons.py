"""The enum of the contract, the classes of Python and the page of the documentation say the same."""

import inspect
import re

import pytest
from modelkeep.api.error.v1.error_reason_pb2 import ErrorReason
from modelkeep.errors import BY_REASON, ModelkeepError

from tests.house.repository import ROOT

PREFIX = "ERROR_REASON_"
PROTO = ROOT / "protos/modelkeep/api/error/v1/error_reason.proto"
PAGE = (ROOT / "docs/errors.md").read_text()


def _comments() -> dict[str, str]:
    """The comment before each value of the enum."""
    found, lines = {}, []
    for line in PROTO.read_text().splitlines():
        if match := re.fullmatch(r"  // (.*)", line):
            lines.append(match[1])
        elif match := re.fullmatch(rf"  {PREFIX}(\w+) = \d+;", line):
            found[match[1]] = " ".join(lines)
            lines = []
    return found


COMMENTS = _comments()


def test_reasons_and_classes_match_one_to_one():
    reasons = {name.removeprefix(PREFIX) for name in ErrorReason.keys()} - {"UNSPECIFIED"}  # noqa: SIM118 - no mapping
    assert reasons == set(BY_REASON) == set(COMMENTS) - {"UNSPECIFIED"}
    classes = [cls for cls in _all(ModelkeepError) if "reason" in vars(cls)]
    assert len(classes) == len(BY_REASON), "two classes share a reason"


def _all(cls):
    """Every public class below; what a module makes of one for itself never leaves it."""
    children = [child for child in cls.__subclasses__() if child.__module__ == ModelkeepError.__module__]
    return [found for child in children for found in (child, *_all(child))]


@pytest.mark.parametrize("cls", _all(ModelkeepError), ids=lambda c: c.__name__)
def test_a_class_stands_in_the_tree_at_the_top_of_its_file(cls):
    tree = inspect.getdoc(inspect.getmodule(cls)).splitlines()
    depth = len(cls.__mro__) - len(ModelkeepError.__mro__)
    assert any(re.fullmatch(rf"[│ ]{{{4 * (depth - 1)}}}[├└]── {cls.__name__}", line) for line in tree)


@pytest.mark.parametrize("reason", BY_REASON)
def test_the_comment_of_the_contract_is_the_docstring(reason):
    cls = BY_REASON[reason]
    assert COMMENTS[reason] == f"{cls.code.name}. {' '.join(inspect.getdoc(cls).split())}"


@pytest.mark.parametrize("reason", BY_REASON)
def test_the_documentation_lists_each_reason(reason):
    cls = BY_REASON[reason]
    section = PAGE.partition(f"\n## {cls.code.name}\n")[2].partition("\n## ")[0]
    assert f"| `{reason}` | `{cls.__name__}` | {inspect.getdoc(cls)} |" in section
