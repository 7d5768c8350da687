"""Evaluating a checkpoint of any RLlib algorithm (new API stack), without starting Ray."""

import contextlib
import math
import statistics
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rllib_scoreflow.cli.rollouts import Collector, Enough
from rllib_scoreflow.envs.contract import reason_of
from rllib_scoreflow.errors import InputError
from rllib_scoreflow.evaluation import standard_error
from rllib_scoreflow.experiments.checks.algorithms import OWN_ALGORITHMS
from rllib_scoreflow.experiments.rllib_checkpoints import read_checkpoint
from rllib_scoreflow.plugins import extend_module_path
from rllib_scoreflow.reports import run_folder

if TYPE_CHECKING:
    from rllib_scoreflow.cli.evaluate_options import EvaluateOptions

_WITHOUT_END = 2**62


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
    extend_module_path(_folders_of(checkpoint))
    config, algorithm = _read_config(checkpoint)
    options.check_algorithm(checkpoint, algorithm)
    collector = Collector(options.rollout, options.episodes or None)
    runner = _env_runner(config, checkpoint, options, collector)
    try:
        # The one environment plays one episode after the other: parallel ones would favour short
        # episodes.
        with contextlib.suppress(Enough):
            runner.sample(num_episodes=options.episodes or _WITHOUT_END, explore=config.explore)
    # Whatever the environment or the algorithm's module raises.
    except Exception as error:
        raise InputError(
            f"{checkpoint} cannot be played in the environment {str(config.env)!r}, which raised {reason_of(error)}; "
            f"{_remedy(options)}."
        ) from error
    finally:
        runner.stop()
        collector.close()
    episodes = collector.episodes
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
        **({} if options.rollout.steps is None else {"steps": sum(lengths)}),
        **({} if options.rollout.out is None else {"rollouts": str(options.rollout.out)}),
    }


def _folders_of(checkpoint: Path) -> list[Path]:
    """Where the modules of the run lay that wrote a checkpoint, as far as its folder says and they are there."""
    for folder in checkpoint.resolve().parents[:2]:
        begun = run_folder.read_json(folder / run_folder.BEGUN_JSON) or {}
        named = begun.get(run_folder.MODULE_FOLDERS)
        if isinstance(named, list):
            return [Path(each) for each in named if isinstance(each, str) and Path(each).is_dir()]
    return []


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


def _env_runner(config: Any, checkpoint: Path, options: "EvaluateOptions", collector: Collector) -> Any:
    """An EnvRunner of this process with the checkpoint's weights and connectors; it gives `collector` its episodes."""
    from rllib_scoreflow.experiments.checks.env import check_env

    _lay_over(config, options)
    check_env(config.env, "rllib evaluate")
    config.env_runners(num_env_runners=0, num_envs_per_env_runner=1, rollout_fragment_length="auto")
    config.evaluation(evaluation_interval=None)
    config.debugging(seed=options.seed)
    present = config.callbacks_on_episode_end or []
    present = present if isinstance(present, list) else [present]
    config.callbacks(on_episode_end=[*present, collector])
    if config.is_multi_agent:
        from ray.rllib.env.multi_agent_env_runner import MultiAgentEnvRunner as Runner
    else:
        from ray.rllib.env.single_agent_env_runner import SingleAgentEnvRunner as Runner
    try:
        runner = (config.env_runner_cls or Runner)(config=config)
    # Whatever the environment's constructor raises.
    except Exception as error:
        raise InputError(
            f"{checkpoint}: its environment {str(config.env)!r} cannot be made ({reason_of(error)}); "
            f"{_remedy(options)}."
        ) from error
    if options.rollout.render and not _opens_window(runner):
        runner.stop()
        raise InputError(
            f"--render: the environment {str(config.env)!r} opens no window (it does not take render_mode: human); "
            "leave it out."
        )
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


def _lay_over(config: Any, options: "EvaluateOptions") -> None:
    """Lay what the command line says over a checkpoint's config; an evaluation does not explore."""
    given = options.rollout.config
    env = options.env or given.get("env")
    if env is not None:
        config.environment(env=env)
    env_config = {**config.env_config, **given.get("env_config", {})}
    if options.rollout.render:
        env_config["render_mode"] = "human"
    config.environment(env_config=env_config)
    config.env_runners(explore=bool(given.get("explore", False)))


def _opens_window(runner: Any) -> bool:
    envs = getattr(runner.env.unwrapped, "envs", [])
    return any(getattr(env.unwrapped, "render_mode", None) == "human" for env in envs)


def _remedy(options: "EvaluateOptions") -> str:
    return (
        "correct that, or leave out --render, which needs a display"
        if options.rollout.render
        else "give --env, or correct it"
    )
