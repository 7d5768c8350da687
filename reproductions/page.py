"""`docs/results.md`: its tables are copied out of the studies' tables, so that no figure is typed."""

import re

from reproductions.analyse import TABLES
from reproductions.study import HERE, RESULTS, StudyError

PAGE = HERE.parent / "docs" / "results.md"
_MARKED = re.compile(r"<!-- table: (?P<name>[^>]+?) -->\n.*?<!-- end -->", re.DOTALL)
_HEADING = re.compile(r"^(#+) (.*)$")


def fill_tables(text: str) -> str:
    """Puts a study's table between every pair of marks.

    Args:
        text: a page with marks, `<!-- table: STUDY / HEADING / ... -->` and `<!-- end -->`.

    Raises:
        StudyError: a mark names a study without tables, or a heading that its tables do not have.
    """
    return _MARKED.sub(lambda mark: f"<!-- table: {mark['name']} -->\n{_find_table(mark['name'])}\n<!-- end -->", text)


def _find_table(name: str) -> str:
    study, *headings = (part.strip() for part in name.split("/"))
    path = RESULTS / study / TABLES
    if not path.is_file():
        raise StudyError(f"{PAGE.name} wants a table of {study!r}, which has none; run `analyse {study}` first.")
    lines = iter(path.read_text(encoding="utf-8").splitlines())
    for heading in headings:
        if not any((found := _HEADING.match(line)) and found[2] == heading for line in lines):
            raise StudyError(f"{PAGE.name} wants {name!r}, and {path} has no heading {heading!r} there.")
    table = []
    for line in lines:
        if _HEADING.match(line):
            break
        table.append(line)
    return "\n".join(table).strip()
