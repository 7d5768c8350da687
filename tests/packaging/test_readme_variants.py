"""README's table of variants is that of the code."""

from pathlib import Path

from rllib_scoreflow.flow.variants import VARIANTS, variants_table

README = (Path(__file__).parents[2] / "README.md").read_text()


def test_the_table_of_readme_is_the_one_that_the_code_makes() -> None:
    first = README.index("| variant | path |")
    shown = README[first : README.index("\n\n", first) + 1]
    assert shown == variants_table(), f"README is stale; its table should be\n{variants_table()}"
    assert len(shown.splitlines()) == len(VARIANTS) + 2 >= 14
