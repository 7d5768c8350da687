"""Importing a user's own modules, which add to the registries, in every process that needs them."""

import importlib
from collections.abc import Sequence

from rllib_scoreflow.errors import InputError, shorten


def import_plugins(modules: Sequence[str]) -> None:
    """Import modules by their dotted names; what they register is known afterwards.

    Importing runs their code. Names come from the user's own file, option or Python program, never from a policy.

    Args:
        modules: dotted names of modules on the path.

    Raises:
        InputError: a module cannot be imported; the reason is passed on.
    """
    for module in modules:
        try:
            importlib.import_module(module)
        except Exception as error:
            reason = shorten(f"{type(error).__name__}: {error}")
            raise InputError(
                f"plugins: the module {shorten(module)!r} cannot be imported ({reason}); it must lie beside the "
                "experiment file, in the working folder, or be installed."
            ) from error
