"""The Adroit hand's tasks, which are gymnasium-robotics' own: it has them registered once it is imported."""

import contextlib
import importlib
import io

from rllib_scoreflow.envs.packages import require_package

PREFIX = "AdroitHand"
"""How ids of these tasks begin: AdroitHandDoor-v1, AdroitHandDoorSparse-v1, ..."""


def load_adroit(env_id: str) -> None:
    """Let gymnasium-robotics register its tasks.

    Their observations have D4RL's layout. Their rewards and time limits were not compared with D4RL's, so that D4RL's
    score is not printed of them.

    Args:
        env_id: the one that is asked for, for the message.

    Raises:
        InputError: the package is not installed.
    """
    require_package(env_id, "gymnasium-robotics", "kitchen")
    # On import it prints a notice about other environments.
    with contextlib.redirect_stderr(io.StringIO()):
        importlib.import_module("gymnasium_robotics")
