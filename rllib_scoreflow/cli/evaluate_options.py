"""What `rllib evaluate` and `rllib demo` are asked to play, checked."""

from dataclasses import dataclass
from pathlib import Path

from rllib_scoreflow.errors import InputError
from rllib_scoreflow.suggest import hint

VARIANTS = ("flow", "scoreflow")

STARTS = ("normal", "zero", "learned")


_BACKENDS = ("auto", "envpool", "gymnasium")


_SUCCESS_RULES = ("last", "any")


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


def check_variant_name(variant: str | None) -> None:
    """Refuse what is no name for --variant.

    Raises:
        InputError: see above.
    """
    if variant is not None and variant not in VARIANTS:
        raise InputError(f"--variant {variant}: {hint(variant, VARIANTS, 'it is one of')}")


def check_start_name(start: str | None) -> None:
    """Refuse what is no name for --start.

    Raises:
        InputError: see above.
    """
    if start is not None and start not in STARTS:
        raise InputError(f"--start {start}: {hint(start, STARTS, 'it is one of')}")


@dataclass(frozen=True)
class EvaluateOptions:
    """What to play.

    Attributes:
        episodes: number of episodes.
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

    def __post_init__(self) -> None:
        check_variant_name(self.variant)
        check_start_name(self.start)
        if self.backend not in _BACKENDS:
            raise InputError(f"--backend {self.backend}: {hint(self.backend, _BACKENDS, 'it is one of')}")
        if self.success is not None and self.success not in _SUCCESS_RULES:
            raise InputError(f"--success {self.success}: {hint(self.success, _SUCCESS_RULES, 'it is one of')}")
        for option, target, ending in (
            ("--video", self.video, ".mp4"),
            ("--contact-sheet", self.contact_sheet, ".png"),
        ):
            if target is not None:
                check_new_file(option, target, ending)
