"""docs/config.md lists every key of a config, and is up to date."""

import pytest

from cofi_dist.config import Config
from tools.config_table import PAGE, descriptions, inner_sections, page


def test_the_page_is_up_to_date() -> None:
    assert PAGE.read_text() == page(), "run python -m tools.config_table"


SECTIONS = [Config, *(section for _, section in inner_sections(Config, ""))]


@pytest.mark.parametrize("section", SECTIONS, ids=lambda section: section.__name__)
def test_every_key_says_what_it_is(section: type[Config]) -> None:
    held = {name for names, _ in inner_sections(section, "") for name in names if "." not in name}
    said = descriptions(section)
    assert said.keys() | held == section.model_fields.keys()
    assert all(text.endswith(".") for text in said.values())
