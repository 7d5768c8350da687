"""``rllib evaluate``: the mean return of an exported policy or of any RLlib checkpoint."""

import json
import shlex
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, cast

from rllib_scoreflow.cli.evaluate_options import VARIANTS, EvaluateOptions, check_choice
from rllib_scoreflow.errors import InputError, shorten
from rllib_scoreflow.experiments.weights import find_policy
from rllib_scoreflow.files.hub import is_hub_id
from rllib_scoreflow.flow.start import STARTS

_PICTURES = ("video", "contact_sheet")


def variants_of(policy: Any) -> tuple[str, ...]:
    """Return what --variant may be for a FlowPolicy."""
    return VARIANTS[:1] if policy.metadata.variant == "flow" else VARIANTS


def check_variant(folder: Path, policy: Any, variant: str | None) -> None:
    """Refuse a variant that a policy does not have.

    Args:
        folder: of the policy.
        policy: a FlowPolicy.
        variant: what --variant says.

    Raises:
        InputError: see above.
    """
    check_choice("--variant", variant, VARIANTS)
    if variant is not None and variant not in variants_of(policy):
        raise InputError(f"{folder} was pretrained only, so it has no variant {variant}; leave --variant out.")


def check_start(folder: Path, policy: Any, start: str | None) -> None:
    """Refuse a learned start of a policy that has none.

    Args:
        folder: of the policy.
        policy: a FlowPolicy.
        start: what --start says.

    Raises:
        InputError: see above.
    """
    check_choice("--start", start, STARTS)
    if start == "learned" and policy.config.sde.chain.start != "learned":
        raise InputError(f"{folder} has no learned start; search one with rllib evaluate {folder} --search-start N.")


def run_evaluation(path: Path, options: EvaluateOptions, *, as_json: bool) -> None:
    """Evaluate what is at `path` and print it.

    Args:
        path: policy folder, checkpoint, or folder of an experiment.
        options: what to play.
        as_json: print JSON and nothing else.

    Raises:
        InputError: there is nothing to evaluate at `path`, or an option does not fit it.
    """
    policy = existing_policy(path)
    if policy is not None:
        found = evaluate_flow_policy(policy, options)
    else:
        from rllib_scoreflow.cli.evaluate_rllib import evaluate_checkpoint
        from rllib_scoreflow.experiments.rllib_checkpoints import find_checkpoint

        found = evaluate_checkpoint(find_checkpoint(path), options)
    if as_json:
        print(json.dumps(found, indent=2, default=float))
    else:
        print_evaluation(found)


def existing_policy(path: Path) -> Path | None:
    """Return the policy folder at `path`, None where there is something else.

    Args:
        path: what the user gave.

    Raises:
        InputError: there is nothing at all.
    """
    if not (is_hub_id(path) or path.exists()):
        raise InputError(f"{path} does not exist; give a policy folder, a checkpoint or an experiment's folder.")
    return find_policy(path)


def evaluate_flow_policy(policy_folder: Path, options: EvaluateOptions) -> dict[str, Any]:
    """Evaluate an exported policy; Ray is not needed.

    Args:
        policy_folder: folder with policy.json and policy.safetensors.
        options: what to play.

    Returns:
        As Player.evaluate and, where they were asked for, `video` and `contact_sheet`.

    Raises:
        InputError: the policy is broken, or does not fit the environment or an option.
    """
    player = Player.load(policy_folder, options)
    # Pictures first: where nothing can be rendered that is known at once.
    return {**player.film(options), **player.evaluate(options)}


@dataclass(frozen=True)
class Player:
    """A policy and the environment in which it plays.

    Attributes:
        folder: folder with policy.json and policy.safetensors.
        policy: a FlowPolicy.
        env_id: the environment.
        env_config: keyword arguments of the environment, its time limit and what counts as success.
    """

    folder: Path
    policy: Any
    env_id: str
    env_config: dict[str, Any]

    @classmethod
    def load(cls, folder: Path, options: EvaluateOptions) -> "Player":
        """Load a policy and check that it fits its environment, or that of the options.

        Raises:
            InputError: the policy is broken or does not fit.
        """
        from rllib_scoreflow.envs import env_dims, require_time_limit
        from rllib_scoreflow.interface import check_fits
        from rllib_scoreflow.policy import FlowPolicy

        policy = FlowPolicy.load(folder)
        options.check_algorithm(folder, "ScoreFlow" if policy.metadata.fine_tuned else "FlowBC")
        options.rollout.refuse(str(folder))
        env_id, env_config = _environment_of(folder, policy.metadata, options.env)
        for key in ("max_episode_steps", "success"):
            if getattr(options, key) is not None:
                env_config[key] = getattr(options, key)
        dims = env_dims(env_id, env_config)
        check_fits(policy.interface(str(folder)), dims)
        require_time_limit(env_id, dims.max_episode_steps)
        return cls(folder, policy, env_id, env_config)

    @property
    def variants(self) -> tuple[str, ...]:
        """What --variant may be for this policy."""
        return variants_of(self.policy)

    def check(self, options: EvaluateOptions) -> None:
        """Refuse a variant or start that the policy does not have, and steps that its drift is not made for.

        Raises:
            InputError: see above.
        """
        check_variant(self.folder, self.policy, options.variant)
        check_start(self.folder, self.policy, options.start)
        if options.variant != "flow" and options.denoising_steps is not None:
            self.policy.sde.check_steps(options.denoising_steps, str(self.folder))

    def evaluate(self, options: EvaluateOptions) -> dict[str, Any]:
        """Play the episodes.

        Args:
            options: what to play; `env` has been seen to when the policy was loaded.

        Returns:
            EvaluationResult.to_dict() with `policy`, `variant`, `denoising_steps`, `start` and `seconds_per_action`.

        Raises:
            InputError: an option does not fit the policy or its environment.
        """
        from rllib_scoreflow.evaluation import evaluate_policy, seconds_per_action
        from rllib_scoreflow.policy.threads import one_thread

        with one_thread():
            result = evaluate_policy(
                self._actor(options),
                self.env_id,
                episodes=options.episodes,
                seed=options.seed,
                env_config=self.env_config,
                backend=cast(Any, options.backend),
                **self._chunks,
            )
            seconds = seconds_per_action(self._actor(options), self._blank_observation(), self.policy.config.act_steps)
        return {**self._setting(options), **result.to_dict(), "seconds_per_action": seconds}

    def film(self, options: EvaluateOptions) -> dict[str, str]:
        """Film one episode and draw its contact sheet, as far as they are wanted; the files written by name."""
        from rllib_scoreflow.evaluation import draw_contact_sheet, record_video
        from rllib_scoreflow.policy.threads import one_thread

        written: dict[str, str] = {}
        common = {"seed": options.seed, "env_config": self.env_config, **self._chunks}
        with one_thread():
            if options.video is not None:
                record_video(self._actor(options), self.env_id, options.video, **common)
                written["video"] = str(options.video)
            if options.contact_sheet is not None:
                setting = self._setting(options)
                title = f"{self.env_id}, {setting['variant']}, K = {setting['denoising_steps']}, seed {options.seed}"
                draw_contact_sheet(self._actor(options), self.env_id, options.contact_sheet, title=title, **common)
                written["contact_sheet"] = str(options.contact_sheet)
        return written

    def record(self, options: EvaluateOptions, scratch: Path, fps: int | None, progress: Callable[[], None]) -> Any:
        """Play the episodes and keep every step of them.

        Args:
            options: how many, and from which seed.
            scratch: folder for images on their way.
            fps: steps per second; None: as the environment says.
            progress: called after every episode.

        Returns:
            RecordedEpisodes.
        """
        from rllib_scoreflow.evaluation.recording import record_episodes
        from rllib_scoreflow.policy.threads import one_thread

        with one_thread():
            return record_episodes(
                self._actor(options),
                self.env_id,
                episodes=options.episodes,
                seed=options.seed,
                scratch=scratch,
                fps=fps,
                env_config=self.env_config,
                progress=progress,
                **self._chunks,
            )

    @property
    def _chunks(self) -> dict[str, Any]:
        return {"act_steps": self.policy.config.act_steps, "horizon": self.policy.config.horizon}

    def _setting(self, options: EvaluateOptions) -> dict[str, Any]:
        return {
            "policy": str(self.folder),
            "variant": "flow" if options.variant == "flow" else self.policy.metadata.variant,
            "denoising_steps": options.denoising_steps or self.policy.config.sde.chain.denoising_steps,
            "start": options.start or self.policy.config.sde.chain.start,
        }

    def _actor(self, options: EvaluateOptions) -> Any:
        import torch

        self.check(options)
        generator = torch.Generator().manual_seed(options.seed)
        mode: Literal["policy", "flow"] = "flow" if options.variant == "flow" else "policy"
        return lambda observations: self.policy.act(
            observations,
            mode=mode,
            denoising_steps=options.denoising_steps,
            start=cast(Any, options.start),
            generator=generator,
        )

    def _blank_observation(self) -> Any:
        import numpy as np

        from rllib_scoreflow.observations import IMAGES, STATE

        state = np.zeros((1, self.policy.config.observation_dim), np.float32)
        shape = self.policy.config.image_shape
        return state if shape is None else {STATE: state, IMAGES: np.zeros((1, *shape), np.uint8)}


def _environment_of(folder: Path, metadata: Any, env: str | None) -> tuple[str, dict[str, Any]]:
    """The environment that a policy plays in, and its keyword arguments.

    A policy is somebody's file: that it names a module must not be enough to run the code in it.

    Raises:
        InputError: neither the user nor the policy names one, or the policy alone names a module.
    """
    from rllib_scoreflow.envs.classes import names_code

    own = metadata.env_id
    if env is None and own is None:
        raise InputError(f"{folder} does not say in which environment it acts; give --env ID.")
    if env is None and names_code(own):
        command = shlex.join(["rllib", "evaluate", str(folder), "--env", own])
        raise InputError(
            f"{folder} acts in the environment '{shorten(own)}', and loading that runs the module that it names; if "
            f"you trust the module of that name here, say so by naming it: {shorten(command, 1000)}"
        )
    # The same module named by the user is the environment as trained.
    as_trained = env is None or (env == own and names_code(env))
    return env or own, dict(metadata.env_config) if as_trained else {}


def print_evaluation(found: dict[str, Any]) -> None:
    """Print an evaluation for people.

    Args:
        found: from `evaluate_flow_policy` or `evaluate_checkpoint`.
    """
    chosen = [f"{key.replace('_', ' ')} {found[key]}" for key in ("variant", "denoising_steps") if key in found]
    chosen += [f"start {found['start']}"] if found.get("start", "normal") != "normal" else []
    about = f" ({', '.join(chosen)})" if chosen else ""
    print(f"{found.get('policy') or found.get('checkpoint')} on {found['env_id']}, seed {found['seed']}{about}")
    error = found.get("return_stderr")
    spread = f" ± {error:.1f} (standard error)" if error is not None else ""
    lines = [
        ("return", f"{found['return_mean']:.1f}{spread} over {found['episodes']} episodes"),
        ("episode length", f"{found['length_mean']:.1f} steps"),
    ]
    if found.get("success_rate") is not None:
        where = " (in any step of an episode)" if found.get("success_rule") == "any" else ""
        lines.append(("success", f"{100 * found['success_rate']:.1f} %{where}"))
    lines += [(name, f"{value:.3f}") for name, value in (found.get("metrics") or {}).items()]
    if found.get("normalized_score") is not None:
        lines.append(("normalised score", f"{found['normalized_score']:.1f} (D4RL: 0 random, 100 expert)"))
    if found.get("seconds_per_action") is not None:
        lines.append(("time per action", f"{1000 * found['seconds_per_action']:.2f} ms (one observation, one thread)"))
    lines += [(key.replace("_", " "), found[key]) for key in ("steps", "rollouts", *_PICTURES) if found.get(key)]
    width = max(17, *(len(name) for name, _ in lines))
    for name, text in lines:
        print(f"{name:<{width}} {text}")
