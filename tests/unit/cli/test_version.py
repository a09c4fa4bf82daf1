"""What options of versions say."""

from __future__ import annotations

import pytest
from modelkeep.cli.version import read_condition
from modelkeep.errors import InvalidArgument


def test_a_condition() -> None:
    assert read_condition("acc:max") == ("acc", "max")
    assert read_condition("eval:acc:min") == ("eval:acc", "min")
    assert read_condition("") is None


@pytest.mark.parametrize("text", ["acc", "acc:most", ":max", "acc max"])
def test_what_is_no_condition_is_told_as_the_option_has_it(text: str) -> None:
    with pytest.raises(InvalidArgument, match=r"give a key of the metadata and max or min: acc:max$"):
        read_condition(text)
