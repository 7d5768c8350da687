"""Simulators that are installed only by those who want them."""

import importlib.util

from rllib_scoreflow.errors import InputError


def require_package(env_id: str, package: str, extra: str) -> None:
    """Refuse to go on without a simulator's package.

    Args:
        env_id: the environment that needs it, for the message.
        package: its name on the package index; that of its module has underscores.
        extra: this package's extra that installs it.

    Raises:
        InputError: it is not installed.
    """
    if importlib.util.find_spec(package.replace("-", "_")) is None:
        raise InputError(
            f"environment {env_id!r} needs {package}, which is not installed: pip install 'rllib-scoreflow[{extra}]'"
        )
