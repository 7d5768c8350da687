"""Modules that have moved, by the names that pickles of earlier versions know them by.

A checkpoint of RLlib names the classes that it is restored with, and Python finds a class by its module. The modules
below moved when the package was laid out in rooms (in 0.1.0, before its first release); checkpoints and pickled configs
of before are read because an old name is imported as the new one. New code imports the new one.
"""

import sys
from collections.abc import Sequence
from importlib import import_module
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import ModuleSpec
from types import ModuleType

MOVED = {
    "rllib_scoreflow.algorithms.policy_algorithm": "rllib_scoreflow.algorithms.common.algorithm",
    "rllib_scoreflow.algorithms.policy_learner": "rllib_scoreflow.algorithms.common.learner",
    "rllib_scoreflow.algorithms.ray_adapter": "rllib_scoreflow.algorithms.common.ray_adapter",
    "rllib_scoreflow.algorithms.rl_module": "rllib_scoreflow.algorithms.common.rl_module",
    "rllib_scoreflow.algorithms.scoreflow.scoreflow_config": "rllib_scoreflow.algorithms.scoreflow.scoreflow",
}
"""Old name -> new name."""


class _MovedModules(MetaPathFinder, Loader):
    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        return ModuleSpec(fullname, self) if fullname in MOVED else None

    def exec_module(self, module: ModuleType) -> None:
        # What stands in sys.modules afterwards is what the import returns.
        sys.modules[module.__name__] = import_module(MOVED[module.__name__])


def find_moved_modules() -> None:
    """Lets this process import moved modules by their old names."""
    if not any(isinstance(finder, _MovedModules) for finder in sys.meta_path):
        sys.meta_path.append(_MovedModules())
