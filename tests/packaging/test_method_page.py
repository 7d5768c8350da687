"""docs/method.md names a test for every claim; the tests must exist."""

import ast
import re
from pathlib import Path

ROOT = Path(__file__).parents[2]
NAMED = re.findall(r"`(test_\w+\.py)::(test_\w+)`", (ROOT / "docs" / "method.md").read_text())


def test_every_test_that_a_claim_names_exists():
    assert len(NAMED) > 20
    for file, test in NAMED:
        functions = {
            node.name
            for node in ast.walk(ast.parse((ROOT / "tests" / "flow" / file).read_text()))
            if isinstance(node, ast.FunctionDef)
        }
        assert test in functions, f"docs/method.md names {file}::{test}, which does not exist"
