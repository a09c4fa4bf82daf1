"""`docs/settings.md` is what the code says (HOUSE §9)."""

from pathlib import Path

import pytest
from modelkeep_server.settings import Settings, fields, reference

DOCS = Path(__file__).parents[2] / "docs"
ALL = [f"{section}.{name}" for section, name, _value in fields(Settings())]


def test_settings_md_is_the_output_of_config_reference():
    assert (DOCS / "settings.md").read_text() == reference(), "run: modelkeep-server config reference > docs/settings.md"


@pytest.mark.parametrize("setting", ALL)
def test_every_setting_says_what_it_means(setting: str):
    section, name = setting.split(".")
    description = type(getattr(Settings(), section)).model_fields[name].description
    assert description
    assert description.strip().endswith((".", ")"))
