"""What `rllib evaluate` and `rllib demo` are asked to play, checked."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from rllib_scoreflow.cli.rollouts import RolloutOptions
from rllib_scoreflow.errors import InputError, quote
from rllib_scoreflow.flow.start import STARTS
from rllib_scoreflow.suggest import hint

VARIANTS = ("flow", "scoreflow")
_BACKENDS = ("auto", "envpool", "gymnasium")
_SUCCESS_RULES = ("last", "any")
# What says how one policy is played, and what shows it.
_OF_ONE_POLICY = ("denoising_steps", "variant", "start")
_PICTURES = ("video", "contact_sheet")


def check_new_file(option: str, target: Path, ending: str) -> None:
    """Refuse a file that cannot be written or exists.

    Args:
        option: what the user typed.
        target: the file.
        ending: what its name must end in.

    Raises:
        InputError: see above.
    """
    from rllib_scoreflow.evaluation import check_target

    check_target(option, target, ending)


def check_choice(option: str, value: str | None, choices: Sequence[str]) -> None:
    """Refuse what is no choice of an option; None is none.

    Args:
        option: what the user typed.
        value: what was given.
        choices: what there is.

    Raises:
        InputError: with the nearest choice.
    """
    if value is not None and value not in choices:
        raise InputError(f"{option} {value}: {hint(value, choices, 'it is one of')}")


@dataclass(frozen=True)
class EvaluateOptions:
    """What to play.

    Attributes:
        episodes: number of episodes; 0 for any number, where `rollout` says how many steps.
        seed: of the initial states.
        denoising_steps: K, or None for the policy's own.
        variant: "flow" for the plain flow, "scoreflow" for the drift it was fine-tuned with, None
            for its own.
        start: where chains start, see ChainConfig, or None for the policy's own.
        env: environment, or None for the policy's own.
        backend: simulator.
        video: .mp4 to film one more episode into.
        contact_sheet: .png to draw frames of the same episode on.
        max_episode_steps: time limit in primitive steps, or None for the policy's or the registered one.
        success: "last" or "any" step of an episode decides its success, None for the policy's own rule.
        algorithm: what the checkpoint must be of, None for anything.
        rollout: what is for checkpoints of RLlib's own algorithms alone.
    """

    episodes: int
    seed: int
    denoising_steps: int | None = None
    variant: str | None = None
    start: str | None = None
    env: str | None = None
    backend: str = "auto"
    video: Path | None = None
    contact_sheet: Path | None = None
    max_episode_steps: int | None = None
    success: str | None = None
    algorithm: str | None = None
    rollout: RolloutOptions = field(default_factory=RolloutOptions)

    def __post_init__(self) -> None:
        check_choice("--variant", self.variant, VARIANTS)
        check_choice("--start", self.start, STARTS)
        check_choice("--backend", self.backend, _BACKENDS)
        check_choice("--success", self.success, _SUCCESS_RULES)
        for option, target, ending in (
            ("--video", self.video, ".mp4"),
            ("--contact-sheet", self.contact_sheet, ".png"),
        ):
            if target is not None:
                check_new_file(option, target, ending)

    def check_algorithm(self, what: Path, algorithm: str) -> None:
        """Refuse a checkpoint or policy of another algorithm than the one that was named.

        Args:
            what: the checkpoint or policy.
            algorithm: of which it is.

        Raises:
            InputError: it is another one.
        """
        if self.algorithm not in (None, algorithm):
            raise InputError(f"--algo {quote(self.algorithm)}, but {what} is of {algorithm}; leave --algo out.")

    def refuse_settings(self, mode: str, why: str, *, pictures: bool) -> None:
        """Refuse what says how one policy is played, or shows it, for a mode that plays several.

        Args:
            mode: the option of that mode.
            why: a relative clause about it.
            pictures: whether it shows one of them, too.

        Raises:
            InputError: naming the option.
        """
        for name in _OF_ONE_POLICY if pictures else (*_OF_ONE_POLICY, *_PICTURES):
            if getattr(self, name) is not None:
                raise InputError(f"--{name.replace('_', '-')} does not go with {mode}, {why}; leave it out.")
