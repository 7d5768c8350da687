"""What README repeats: the table of variants, which the code makes, and what was measured, which its page has."""

from pathlib import Path

import pytest

from rllib_scoreflow.flow.variants import VARIANTS, variants_table

ROOT = Path(__file__).parents[2]


def table_of(page: str, head: str) -> str:
    text = (ROOT / page).read_text()
    first = text.index(head)
    return text[first : text.index("\n\n", first) + 1]


@pytest.mark.parametrize("page", ["README.md", "docs/variants.md"])
def test_the_table_of_variants_is_the_one_that_the_code_makes(page: str) -> None:
    shown = table_of(page, "| variant | path |")
    assert shown == variants_table(), f"{page} is stale; its table should be\n{variants_table()}"
    assert len(shown.splitlines()) == len(VARIANTS) + 2 >= 14


def test_readme_says_what_the_page_of_measurements_says() -> None:
    shown, whole = (table_of(page, "| run | clone |").splitlines() for page in ("README.md", "docs/measured.md"))
    assert len(shown) > 4
    assert set(shown) <= set(whole)


def test_readme_is_read_in_two_minutes() -> None:
    assert len((ROOT / "README.md").read_text().splitlines()) <= 150
