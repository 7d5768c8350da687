"""Evaluating a checkpoint of any RLlib algorithm (new API stack), without starting Ray."""

import math
import statistics
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rllib_scoreflow.envs.contract import reason_of
from rllib_scoreflow.errors import InputError
from rllib_scoreflow.evaluation import standard_error
from rllib_scoreflow.experiments.checks.algorithms import OWN_ALGORITHMS
from rllib_scoreflow.experiments.rllib_checkpoints import read_checkpoint

if TYPE_CHECKING:
    from rllib_scoreflow.cli.evaluate_options import EvaluateOptions


def evaluate_checkpoint(checkpoint: Path, options: "EvaluateOptions") -> dict[str, Any]:
    """Play a checkpoint's policy greedily. This unpickles the checkpoint, which runs code from it.

    Args:
        checkpoint: from `find_checkpoint`.
        options: what to play; those of flow policies are refused.

    Returns:
        As EvaluationResult.to_dict(), with `checkpoint` and `algorithm`.

    Raises:
        InputError: an option does not apply, or the checkpoint is broken or of the old API stack.
    """
    for name in ("denoising_steps", "variant", "start", "video", "contact_sheet", "max_episode_steps", "success"):
        if getattr(options, name) is not None:
            option = "--" + name.replace("_", "-")
            raise InputError(
                f"{option} is for exported flow policies, and {checkpoint} is an RLlib checkpoint; leave it out."
            )
    config, algorithm = _read_config(checkpoint)
    runner = _env_runner(config, checkpoint, options)
    try:
        # The one environment plays one episode after the other: parallel ones would favour short
        # episodes.
        episodes = runner.sample(num_episodes=options.episodes, explore=False)
    # Whatever the environment or the algorithm's module raises.
    except Exception as error:
        raise InputError(
            f"{checkpoint} cannot be played in the environment {str(config.env)!r}, which raised {reason_of(error)}; "
            "give --env, or correct it."
        ) from error
    finally:
        runner.stop()
    returns = [float(episode.get_return()) for episode in episodes]
    lengths = [len(episode) for episode in episodes]
    stderr = standard_error(returns)
    return {
        "checkpoint": str(checkpoint),
        "algorithm": algorithm,
        "env_id": str(config.env),
        "seed": options.seed,
        "episodes": len(returns),
        "return_mean": statistics.fmean(returns),
        "return_stderr": None if math.isnan(stderr) else stderr,
        "length_mean": statistics.fmean(lengths),
        "success_rate": None,
        "normalized_score": None,
        "returns": returns,
        "lengths": lengths,
    }


def _read_config(checkpoint: Path) -> tuple[Any, str]:
    """The checkpoint's AlgorithmConfig as an unfrozen copy, and the algorithm's name."""
    algorithm, config = read_checkpoint(checkpoint)
    if not config.enable_env_runner_and_connector_v2:
        raise InputError(f"{checkpoint} is of RLlib's old API stack, which this command does not evaluate.")
    if algorithm.__name__ in OWN_ALGORITHMS:  # its policy acts in chunks, and only the artefact says how
        raise InputError(
            f"{checkpoint} is a checkpoint of {algorithm.__name__} without the policy that it exports; restore it in "
            "Python and save it again with save_to_path()."
        )
    return config, str(algorithm.__name__)


def _env_runner(config: Any, checkpoint: Path, options: "EvaluateOptions") -> Any:
    """An EnvRunner of this process with the checkpoint's weights and connectors."""
    from rllib_scoreflow.experiments.checks.env import check_env

    if options.env is not None:
        config.environment(env=options.env)
    check_env(config.env, "rllib evaluate")
    config.env_runners(num_env_runners=0, num_envs_per_env_runner=1, rollout_fragment_length="auto")
    config.evaluation(evaluation_interval=None)
    config.debugging(seed=options.seed)
    if config.is_multi_agent:
        from ray.rllib.env.multi_agent_env_runner import MultiAgentEnvRunner as Runner
    else:
        from ray.rllib.env.single_agent_env_runner import SingleAgentEnvRunner as Runner
    try:
        runner = (config.env_runner_cls or Runner)(config=config)
    # Whatever the environment's constructor raises.
    except Exception as error:
        raise InputError(
            f"{checkpoint}: its environment {str(config.env)!r} cannot be made ({reason_of(error)}); give --env, or "
            "correct it."
        ) from error
    try:
        complete = checkpoint.resolve()  # RLlib takes a relative path for a URI
        connectors = complete / "env_runner"
        if connectors.is_dir():
            runner.restore_from_path(str(connectors))
        module = complete / "learner_group" / "learner" / "rl_module"
        single = module / "default_policy"
        runner.module.restore_from_path(str(module if config.is_multi_agent else single))
    except Exception as error:
        runner.stop()
        raise InputError(f"{checkpoint} cannot be restored ({reason_of(error)}); is it complete?") from error
    return runner
