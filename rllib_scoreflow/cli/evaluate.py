"""``rllib evaluate``: the mean return of an exported policy or of any RLlib checkpoint."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, cast

from rllib_scoreflow.cli.suggest import hint
from rllib_scoreflow.cli.weights import find_policy
from rllib_scoreflow.errors import InputError

_VARIANTS = ("flow", "scoreflow")
_BACKENDS = ("auto", "envpool", "gymnasium")


@dataclass(frozen=True)
class EvaluateOptions:
    """What to play.

    Attributes:
        episodes: number of episodes.
        seed: of the initial states.
        denoising_steps: K, or None for the policy's own.
        variant: "flow" for the plain flow, "scoreflow" for the drift it was fine-tuned with, None
            for its own.
        env: environment, or None for the policy's own.
        backend: simulator.
        video: .mp4 to film one more episode into.
    """

    episodes: int
    seed: int
    denoising_steps: int | None = None
    variant: str | None = None
    env: str | None = None
    backend: str = "auto"
    video: Path | None = None

    def __post_init__(self) -> None:
        if self.variant is not None and self.variant not in _VARIANTS:
            raise InputError(f"--variant {self.variant}: {hint(self.variant, _VARIANTS, 'it is one of')}")
        if self.backend not in _BACKENDS:
            raise InputError(f"--backend {self.backend}: {hint(self.backend, _BACKENDS, 'it is one of')}")
        if self.video is not None and self.video.exists():
            raise InputError(f"--video {self.video} exists already; give another name.")


def run_evaluation(path: Path, options: EvaluateOptions, *, as_json: bool) -> None:
    """Evaluate what is at `path` and print it.

    Args:
        path: policy folder, checkpoint, or folder of an experiment.
        options: what to play.
        as_json: print JSON and nothing else.

    Raises:
        InputError: there is nothing to evaluate at `path`, or an option does not fit it.
    """
    if not path.exists():
        raise InputError(f"{path} does not exist; give a policy folder, a checkpoint or an experiment's folder.")
    policy = find_policy(path)
    if policy is not None:
        found = evaluate_flow_policy(policy, options)
    else:
        from rllib_scoreflow.cli.evaluate_rllib import evaluate_checkpoint, find_checkpoint

        found = evaluate_checkpoint(find_checkpoint(path), options)
    if as_json:
        print(json.dumps(found, indent=2, default=float))
    else:
        print_evaluation(found)


def evaluate_flow_policy(policy_folder: Path, options: EvaluateOptions) -> dict[str, Any]:
    """Evaluate an exported policy; Ray is not needed.

    Args:
        policy_folder: folder with policy.json and policy.safetensors.
        options: what to play.

    Returns:
        EvaluationResult.to_dict() with `policy`, `variant`, `denoising_steps` and, if filmed,
        `video`.

    Raises:
        InputError: the policy is broken, or does not fit the environment or an option.
    """
    import torch

    from rllib_scoreflow.evaluation import evaluate_policy, record_video
    from rllib_scoreflow.policy import FlowPolicy
    from rllib_scoreflow.policy.threads import one_thread

    policy = FlowPolicy.load(policy_folder)
    trained_as = policy.metadata.variant
    if options.variant == "scoreflow" and trained_as == "flow":
        raise InputError(f"{policy_folder} was pretrained only, so it has no variant scoreflow; leave --variant out.")
    env_id = options.env or policy.metadata.env_id
    if env_id is None:
        raise InputError(f"{policy_folder} does not say in which environment it acts; give --env ID.")
    env_config = policy.metadata.env_config if options.env is None else {}
    _check_dims(policy_folder, policy.config, env_id, env_config)
    mode: Literal["policy", "flow"] = "flow" if options.variant == "flow" else "policy"

    def actor() -> Any:
        generator = torch.Generator().manual_seed(options.seed)
        return lambda observations: policy.act(
            observations, mode=mode, denoising_steps=options.denoising_steps, generator=generator
        )

    act_steps, horizon = policy.config.act_steps, policy.config.horizon
    with one_thread():
        result = evaluate_policy(
            actor(),
            env_id,
            episodes=options.episodes,
            seed=options.seed,
            env_config=env_config,
            backend=cast(Any, options.backend),
            act_steps=act_steps,
            horizon=horizon,
        )
    found = {
        "policy": str(policy_folder),
        "variant": options.variant or trained_as,
        "denoising_steps": options.denoising_steps or policy.config.sde.chain.denoising_steps,
        **result.to_dict(),
    }
    if options.video is not None:
        record_video(
            actor(),
            env_id,
            options.video,
            seed=options.seed,
            env_config=env_config,
            act_steps=act_steps,
            horizon=horizon,
        )
        found["video"] = str(options.video)
    return found


def _check_dims(folder: Path, config: Any, env_id: str, env_config: dict[str, Any]) -> None:
    from rllib_scoreflow.envs import env_dims

    dims = env_dims(env_id, env_config)
    for what, mine, its in (
        ("observations", (config.observation_dim,), (dims.observation_dim,)),
        ("actions", (config.action_dim,), (dims.action_dim,)),
        ("images", config.image_shape, dims.image_shape),
    ):
        if mine != its:
            raise InputError(
                f"{folder} has {what} of shape {mine} and the environment {env_id} of {its}; "
                "evaluate it in the environment that it was trained for."
            )


def print_evaluation(found: dict[str, Any]) -> None:
    """Print an evaluation for people.

    Args:
        found: from `evaluate_flow_policy` or `evaluate_checkpoint`.
    """
    error = found.get("return_stderr")
    spread = f" ± {error:.1f} (standard error)" if error is not None else ""
    chosen = [f"{key.replace('_', ' ')} {found[key]}" for key in ("variant", "denoising_steps") if key in found]
    about = f" ({', '.join(chosen)})" if chosen else ""
    print(f"{found.get('policy') or found.get('checkpoint')} on {found['env_id']}, seed {found['seed']}{about}")
    print(f"return            {found['return_mean']:.1f}{spread} over {found['episodes']} episodes")
    print(f"episode length    {found['length_mean']:.1f} steps")
    if found.get("success_rate") is not None:
        print(f"success           {100 * found['success_rate']:.1f} %")
    metrics = found.get("metrics") or {}
    width = max([17, *map(len, metrics)])
    for name, value in metrics.items():
        print(f"{name:<{width}} {value:.3f}")
    if found.get("normalized_score") is not None:
        print(f"normalised score  {found['normalized_score']:.1f} (D4RL: 0 random, 100 expert)")
    if found.get("video") is not None:
        print(f"video             {found['video']}")
