"""Checkpoints of any RLlib algorithm: finding one, reading its config, and starting trials from it.

Reading a config unpickles it, which runs code from the checkpoint.
"""

import hashlib
import pickle
from pathlib import Path
from typing import Any

import rllib_scoreflow
from rllib_scoreflow.envs.contract import reason_of
from rllib_scoreflow.errors import InputError
from rllib_scoreflow.experiments.quiet import set_log_levels
from rllib_scoreflow.files.digest import file_digest
from rllib_scoreflow.files.manifest import RLLIB_METADATA
from rllib_scoreflow.files.user_paths import expand_user
from rllib_scoreflow.reports import run_folder

_CONSTRUCTOR = "class_and_ctor_args.pkl"


def find_checkpoint(path: Path) -> Path:
    """Return the Algorithm checkpoint that a path means.

    Args:
        path: the checkpoint itself, a trial's folder (its newest checkpoint), or a finished
            experiment's folder.

    Returns:
        A folder with rllib_checkpoint.json.

    Raises:
        InputError: there is none, or several trials have one and nothing says which is meant.
    """
    if path.is_file():  # as the old command named them: checkpoint_000010/checkpoint-10
        path = path.parent
    if (path / RLLIB_METADATA).is_file():
        return path
    done = run_folder.read_json(path / run_folder.DONE_JSON) or {}
    if done.get("checkpoint") and (path / str(done["checkpoint"]) / RLLIB_METADATA).is_file():
        return path / str(done["checkpoint"])
    newest: dict[Path, Path] = {}
    for mark in sorted([*path.glob(f"checkpoint_*/{RLLIB_METADATA}"), *path.glob(f"*/checkpoint_*/{RLLIB_METADATA}")]):
        newest[mark.parent.parent] = mark.parent
    if len(newest) > 1:
        raise InputError(
            f"{path} has checkpoints of {len(newest)} trials; give one of them, such as {min(newest.values())}."
        )
    if not newest:
        raise InputError(
            f"{path} holds neither a policy (policy.json) nor an RLlib checkpoint ({RLLIB_METADATA}); "
            "give a policy folder, a checkpoint or an experiment's folder."
        )
    return next(iter(newest.values()))


def read_checkpoint(checkpoint: Path) -> tuple[type[Any], Any]:
    """Return the algorithm of a checkpoint and an unfrozen copy of its AlgorithmConfig; this unpickles them.

    Args:
        checkpoint: from `find_checkpoint`.

    Raises:
        InputError: they cannot be read.
    """
    rllib_scoreflow.register()
    set_log_levels()
    try:
        with (checkpoint / _CONSTRUCTOR).open("rb") as file:
            stored = pickle.load(file)  # noqa: S301 (stated in the help of the commands)
        algorithm = stored["class"]
        arguments, keywords = stored["ctor_args_and_kwargs"]
        config = keywords.get("config", arguments[0] if arguments else None)
        if isinstance(config, dict):
            config = algorithm.get_default_config().copy(copy_frozen=False).update_from_dict(config)
        return algorithm, config.copy(copy_frozen=False)
    # A damaged pickle raises whatever its bytes happen to call.
    except Exception as error:
        raise InputError(
            f"{checkpoint} cannot be read as an RLlib checkpoint ({reason_of(error)}); choose another one."
        ) from error


def restored_from(path: str, algorithm: type[Any], where: str) -> Path:
    """Return the checkpoint from which the trials of an experiment start.

    Args:
        path: what `restore` says: a checkpoint, a trial's folder or an experiment's.
        algorithm: that of the experiment.
        where: the start of the message.

    Raises:
        InputError: there is none, or it is of another algorithm.
    """
    given = expand_user(path)
    if not given.exists():
        raise InputError(f"{where}: restore names {given}, which does not exist; give a checkpoint's folder.")
    checkpoint = find_checkpoint(given).resolve()
    found, _ = read_checkpoint(checkpoint)
    if found.__name__ != algorithm.__name__:
        raise InputError(
            f"{where}: restore names a checkpoint of {found.__name__}, and this is {algorithm.__name__}; take another "
            "one."
        )
    return checkpoint


def checkpoint_digest(checkpoint: Path) -> str:
    """Return a hash of a checkpoint's contents, wherever it lies.

    Args:
        checkpoint: its folder.
    """
    files = sorted(path for path in checkpoint.rglob("*") if path.is_file())
    lines = [f"{path.relative_to(checkpoint).as_posix()} {file_digest(path)}" for path in files]
    return hashlib.sha256("\n".join(lines).encode()).hexdigest()
