"""Importing a user's own modules, which add to the registries, in every process that needs them."""

import importlib
import os
import sys
from collections.abc import Sequence
from pathlib import Path

from rllib_scoreflow.errors import InputError, shorten

MODULE_PATH = "RLLIB_SCOREFLOW_MODULE_PATH"
"""Environment variable by which other processes learn where a user's own modules lie."""


def extend_module_path(folders: Sequence[Path]) -> None:
    """Let modules of these folders be imported here and, through the environment, in Ray's processes.

    The folders come last, so that a file `torch.py` beside an experiment file is not taken for torch.

    Args:
        folders: such as the working folder and that of the experiment file.
    """
    known = [*module_folders(), *(str(folder.resolve()) for folder in folders)]
    os.environ[MODULE_PATH] = os.pathsep.join(dict.fromkeys(known))
    take_module_path()


def take_module_path() -> None:
    """Take over the folders that another process named with `extend_module_path`."""
    sys.path.extend(folder for folder in module_folders() if folder not in sys.path)


def module_folders() -> list[str]:
    """The folders that this process or another one named with `extend_module_path`."""
    return [folder for folder in os.environ.get(MODULE_PATH, "").split(os.pathsep) if folder]


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
