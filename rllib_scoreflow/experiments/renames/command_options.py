"""What Ray's own ``rllib`` had on its command line and this one has not: why, and what to do instead.

Of Ray 0.7 to 2.40 (``rllib/train.py``, ``rllib/common.py``, ``rllib/evaluate.py``). What still has a meaning is an
option of the command under its old name too, see `cli.train_arguments` and `cli.evaluate_arguments`.
"""

from collections.abc import Mapping

from rllib_scoreflow.experiments.renames.table import Removed

_TENSORFLOW = Removed("it is for TensorFlow, and RLlib's new API stack has torch only; leave it out")
_LOCAL_MODE = "Ray has no local mode any more"
_RESOURCES = (
    "an algorithm asks for what it needs; set num_env_runners, num_learners, num_gpus_per_learner and so on, such as "
    "--set config.num_env_runners=4"
)

TRAIN_OPTIONS: Mapping[str, Removed] = {
    "--trace": _TENSORFLOW,
    "--eager": _TENSORFLOW,
    "--resources-per-trial": Removed(_RESOURCES),
    "--upload-dir": Removed(
        "results are written to a folder; give --results-dir a folder that is mounted from the other place, or copy "
        "the results there afterwards"
    ),
    "--local-mode": Removed(
        f"{_LOCAL_MODE}; --set config.num_env_runners=0 --set config.num_learners=0 keeps a trial in one process"
    ),
    "--ray-num-nodes": Removed(
        "it made up a cluster for tests; start one with `ray start` on each machine, and give --ray-address"
    ),
    "--redis-address": Removed("it is called --ray-address now"),
    "--ray-redis-max-memory": Removed("Ray keeps nothing in Redis by itself any more; leave it out"),
    "--queue-trials": Removed("trials wait for room anyway (see --ray-wait); leave it out"),
    "--export-formats": Removed("the policy is exported with `rllib policy export`; leave it out"),
    "--type": Removed("the ending of the file's name says what it is (.yaml, .json or .py); leave it out"),
    "-t": Removed("the ending of the file's name says what it is (.yaml, .json or .py); leave it out"),
    "--no-tune": Removed("each run goes through Tune; leave it out"),
}
# Only of `rllib train --algo`, not of `rllib train file`.
_ALGO = Removed("a file names its algorithms itself, as `run:`; change one with --set run=PPO")
_CONFIG = Removed("a file has its own `config:`; change a value with --set config.KEY=VALUE")
_NAME = Removed("a file's experiments have their names there; run one of them with --only NAME")
FILE_OPTIONS: Mapping[str, Removed] = {
    **dict.fromkeys(("--algo", "--run", "-a", "-r"), _ALGO),
    **dict.fromkeys(("--config", "-c"), _CONFIG),
    **dict.fromkeys(("--name", "--experiment-name", "-n"), _NAME),
    **dict.fromkeys(("--config-file", "-f"), Removed("give the file without it: rllib train file FILE")),
}
EVALUATE_OPTIONS: Mapping[str, Removed] = {
    "--local-mode": Removed(f"{_LOCAL_MODE}, and an evaluation runs in the command's own process; leave it out"),
    "--video-dir": Removed("it is --video FILE.mp4 now, for exported policies"),
    "--monitor": Removed("gymnasium has no monitor any more; leave it out"),
    "--no-render": Removed("nothing is rendered without --render; leave it out"),
}
# Commands, by their words.
COMMANDS: Mapping[str, Removed] = {
    "rollout": Removed("it is `rllib evaluate` now: rllib evaluate CHECKPOINT --episodes 10"),
}


def reason_for(command: str, option: str) -> str | None:
    """Return why a command has not an option that Ray's had, and the remedy; None where Ray's had none either.

    Args:
        command: its words, such as ``train file``.
        option: as it was typed, such as ``--local-mode``.
    """
    tables: Mapping[str, Mapping[str, Removed]] = {
        "train": TRAIN_OPTIONS,
        "train file": {**TRAIN_OPTIONS, **FILE_OPTIONS},
        "evaluate": EVALUATE_OPTIONS,
    }
    entry = tables.get(command, {}).get(option)
    return None if entry is None else entry.reason
