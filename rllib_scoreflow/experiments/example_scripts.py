"""What a Python file does when it is run as a script, as far as its text says; nothing is run here."""

import ast

EXAMPLE = "run_rllib_example_script_experiment"
"""RLlib's function to which its example scripts hand their config."""


def main_block(text: str) -> list[ast.stmt]:
    """Return what a file does when it is run as a script and not when it is imported.

    Args:
        text: of a Python file.

    Raises:
        SyntaxError: it is none.
    """
    blocks = [node.body for node in ast.parse(text).body if isinstance(node, ast.If) and _asks_for_main(node)]
    return [statement for block in blocks for statement in block]


def training_calls(statements: list[ast.stmt]) -> list[ast.Call]:
    """Return the calls of RLlib's function for examples.

    Args:
        statements: from `main_block`.
    """
    nodes = [node for statement in statements for node in ast.walk(statement)]
    return [node for node in nodes if isinstance(node, ast.Call) and _name(node) == EXAMPLE]


def trains_once(text: str) -> bool:
    """Whether a file hands one config to RLlib's function for examples, as its last deed.

    Args:
        text: of a Python file.
    """
    if EXAMPLE not in text:
        return False
    try:
        main = main_block(text)
    except SyntaxError:
        return False
    calls = training_calls(main)
    return len(calls) == 1 and any(node is calls[0] for node in ast.walk(main[-1]))


def _asks_for_main(node: ast.If) -> bool:
    return "__main__" in ast.unparse(node.test)


def _name(call: ast.Call) -> str:
    return call.func.attr if isinstance(call.func, ast.Attribute) else getattr(call.func, "id", "")
