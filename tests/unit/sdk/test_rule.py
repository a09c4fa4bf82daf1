"""What was compared, told so that the difference shows."""

from __future__ import annotations

import pytest
from modelkeep._rule import Comparison


@pytest.mark.parametrize(
    ("value", "best", "words"),
    [
        (0.91, 0.93, "acc 0.91 is not better than the 0.93 of v6 (max)"),
        (0.5, 0.5, "acc 0.5 is not better than the 0.5 of v6 (max)"),
        (9007199254740994.0, 9007199254740992.0, "acc 9007199254740994.0 is better than the 9007199254740992.0 of v6 (max)"),
        (0.1234567, 0.1234566, "acc 0.1234567 is better than the 0.1234566 of v6 (max)"),
        (0.5, None, "acc 0.5; there was nothing to compare it with"),
    ],
)
def test_a_comparison_tells_in_what_the_numbers_differ(value: float, best: float | None, words: str) -> None:
    assert str(Comparison("acc", "max", value, best, "v6" if best else "", is_better=value > (best or 0))) == words
