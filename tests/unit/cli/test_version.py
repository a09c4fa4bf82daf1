"""What options of versions say."""

from __future__ import annotations

from pathlib import Path

import pytest
from modelkeep.cli.version import given_text, read_condition
from modelkeep.errors import FileUnreadable, InvalidArgument


def test_a_condition() -> None:
    assert read_condition("acc:max") == ("acc", "max")
    assert read_condition("eval:acc:min") == ("eval:acc", "min")
    assert read_condition("") is None


@pytest.mark.parametrize("text", ["acc", "acc:most", ":max", "acc max"])
def test_what_is_no_condition_is_told_as_the_option_has_it(text: str) -> None:
    with pytest.raises(InvalidArgument, match=r"give a key of the metadata and max or min: acc:max$"):
        read_condition(text)


def test_a_file_that_an_option_names_and_nobody_can_read(tmp_path: Path) -> None:
    (tmp_path / "binary").write_bytes(b"\xff")
    for name, why in (("gone", "No such file or directory"), (".", "Is a directory"), ("binary", "it is no text in UTF-8")):
        with pytest.raises(FileUnreadable, match=rf"' cannot be read as metadata: {why}$"):
            given_text(f"@{tmp_path / name}", "metadata")
