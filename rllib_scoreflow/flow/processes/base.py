"""What a denoising process is, and how a configuration chooses one."""

from collections.abc import Mapping
from typing import Annotated, Any, ClassVar

import torch
from pydantic import BeforeValidator, Field, SerializeAsAny, model_validator
from torch import nn

from rllib_scoreflow.errors import InputError
from rllib_scoreflow.flow.fields import FieldConfig, VelocityConfig, VelocityField, make_field, parse_field
from rllib_scoreflow.flow.kernel import Step
from rllib_scoreflow.flow.path import Path, path_of
from rllib_scoreflow.flow.section import Section, parse_tagged
from rllib_scoreflow.flow.sections import ChainConfig, NoiseConfig, ScoreConfig
from rllib_scoreflow.flow.transition import ChainEvaluation, MaskedSum, Transition
from rllib_scoreflow.registry import Registry

VELOCITY = "velocity"
"""Name of the network that cloning trains, in every process."""


class ProcessConfig(Section):
    """What every process's configuration says; a process adds its own options."""

    type: str
    """Process, by its name in `rllib_scoreflow.flow.processes.PROCESSES`."""


def parse_process(values: Mapping[str, Any] | ProcessConfig) -> ProcessConfig:
    """Builds the configuration of a process, such as a saved policy's.

    Raises:
        ValueError: No such process is registered (`InputError`), or an unknown key or a wrong value.
    """
    return parse_tagged(values, ProcessConfig, process_class)


class SDEConfig(Section):
    """Everything that determines the transitions of one policy.

    `velocity` is the network that cloning trains, `process` chooses what is made of it, `score` and `noise` are options
    of the process of this package, and `chain` is common to all.
    """

    velocity: Annotated[SerializeAsAny[FieldConfig], BeforeValidator(parse_field)] = VelocityConfig()
    process: Annotated[SerializeAsAny[ProcessConfig], BeforeValidator(parse_process)] = Field(
        default_factory=lambda: parse_process({})
    )
    score: ScoreConfig = ScoreConfig()
    noise: NoiseConfig = NoiseConfig()
    chain: ChainConfig = ChainConfig()

    @model_validator(mode="after")
    def _process_agrees(self) -> "SDEConfig":
        PROCESSES.choose(self.process.type).check(self)
        return self


class DenoisingProcess(nn.Module):
    """A Markov chain of Gaussian steps from a random start to an action chunk, given an observation.

    A subclass implements `transition` and is registered in `PROCESSES`; every module that it assigns to itself is a
    network that fine-tuning trains, under the attribute's name (`networks`). Sampling, log-probabilities, the update,
    its metrics, evaluation and export ask this class and know no other.

    Attributes:
        config: Its configuration; `config.process` are its own options.
        chunk_dim: Size `D = H * A` of a flattened chunk.
        velocity: `v(x, t, o)`, trained by cloning (some kinds take the step `dt` as well).
        start: The learned start `[D]` of every chain, or None where chains start elsewhere; no gradient reaches it.
        path: The path that the velocity was cloned on, and what the velocity predicts (the noise on a cosine path).
        lead: The process as it was before fine-tuning, which takes the first steps where `chain.tuned_steps` leaves
            them untrained; None where all steps are trained.
    """

    start: torch.Tensor | None

    CONFIG: ClassVar[type[ProcessConfig]]
    SECTIONS: ClassVar[tuple[str, ...]] = ()
    """Which of the sections `score` and `noise` it reads; the others are refused where they are given."""
    LEARNING_RATES: ClassVar[Mapping[str, str]] = {}
    """Option of `ScoreFlowConfig` that sets a network's learning rate, by network; without one it is the velocity's."""

    def __init__(self, observation_dim: int, chunk_dim: int, config: SDEConfig, horizon: int = 1) -> None:
        """Creates the velocity for observations `[B, O]` and flattened chunks `[B, D]` of `horizon` steps."""
        super().__init__()
        self.config = config
        self.chunk_dim = chunk_dim
        self.velocity: VelocityField = make_field(observation_dim, (horizon, chunk_dim // horizon), config.velocity)
        self.register_buffer("start", torch.zeros(chunk_dim) if config.chain.start == "learned" else None)
        self.path: Path = path_of(config.velocity)
        self.lead: DenoisingProcess | None = None
        if config.chain.tuned_steps is not None:
            chain = config.chain.model_copy(update={"tuned_steps": None, "start": "normal"})
            lead = type(self)(observation_dim, chunk_dim, config.model_copy(update={"chain": chain}), horizon)
            self.lead = lead.requires_grad_(False)

    @classmethod
    def check(cls, config: SDEConfig) -> None:
        """Refuses options that do not fit each other.

        Raises:
            ValueError: With the reason, a clause.
        """

    @property
    def is_stochastic(self) -> bool:
        """Whether a transition has noise, that is, whether the chain has a density."""
        return True

    @property
    def depends_on_steps(self) -> bool:
        """Whether what was trained means something else at another number of denoising steps."""
        return False

    def lead_steps(self, denoising_steps: int) -> int:
        """How many of `denoising_steps` the untrained `lead` takes: the same share of the time at every number."""
        chain = self.config.chain
        if chain.tuned_steps is None:
            return 0
        return round(denoising_steps * (1.0 - chain.tuned_steps / chain.denoising_steps))

    def random_steps(self, denoising_steps: int) -> range:
        """Which of the steps `0 .. denoising_steps - 1` are drawn and scored (`chain.random_steps`); others are quiet.

        The one place of this choice: sampling, log-probability, entropy and their scale follow it.
        """
        first = self.lead_steps(denoising_steps)
        if self.config.chain.random_steps == "last":
            first = denoising_steps - 1
        return range(first, denoising_steps)

    def initial_draw(self, observation: torch.Tensor, generator: torch.Generator | None = None) -> torch.Tensor:
        """`x_0 ~ N(0, I)`, `[B, D]`, for observations `[B, O]`."""
        shape = (observation.shape[0], self.chunk_dim)
        return torch.randn(shape, generator=generator, device=observation.device)

    def transition(self, x: torch.Tensor, t: torch.Tensor, observation: torch.Tensor, dt: float) -> Transition:
        """The transition from `x` at `t` by one step of length `dt`.

        Args:
            x: `[B, D]`.
            t: Grid times in `[0, 1)`, `[B, 1]`.
            observation: Normalised observations, `[B, O]`.
            dt: Step length `1 / K`.
        """
        raise NotImplementedError

    def quiet_step(self, x: torch.Tensor, t: torch.Tensor, observation: torch.Tensor, dt: float) -> torch.Tensor:
        """The step without a draw, `[B, D]`: of a policy that does not explore, and of steps that are not random."""
        return self.transition(x, t, observation, dt).mean

    def flow_step(self, x: torch.Tensor, t: torch.Tensor, observation: torch.Tensor, dt: float) -> torch.Tensor:
        """One step of the plain flow, `a(s) D^ + b(s) N^`, as cloned: no drift, no noise; `[B, D]`.

        On the linear path it is Euler's `x + v dt`, on the cosine one DDIM's.
        """
        step = Step.on(self.path, t, dt)
        output = self.velocity(x, t, observation, dt)
        data, noise = self.path.estimates(output, x, step.a, step.b, self.config.chain.data_clip)
        return self.bound_mean(step.mean(data, noise, step.c))

    def bound_mean(self, mean: torch.Tensor) -> torch.Tensor:
        """A mean of a step, `[B, D]`, within `chain.mean_clip` where the path has such a bound."""
        return self.path.bound_mean(mean, self.config.chain.mean_clip)

    def networks(self) -> dict[str, nn.Module]:
        """The networks by name: of optimiser groups, learning rates (`lr/NAME`) and gradient norms."""
        return {name: network for name, network in self.named_children() if name != "lead"}

    def diagnostics(self, evaluation: ChainEvaluation) -> dict[str, torch.Tensor | MaskedSum]:
        """Scalars, reported under their names, of evaluated chains; or sums over some of them, and how many."""
        return {}

    def anneal(self, progress: float) -> None:
        """Moves what follows a schedule to `progress` of the training, 0 to 1 (or beyond), before a rollout."""

    def inherit(self, weights: Mapping[str, torch.Tensor], previous: SDEConfig) -> dict[str, torch.Tensor]:
        """Which weights of another policy's process go on here: by the names they have here, of the same shapes.

        Args:
            weights: The other process's, by name.
            previous: Its configuration.
        """
        found = {}
        for name, own in self.state_dict().items():
            # What leads is what was there before this fine-tuning.
            source = name if name in weights else name.removeprefix("lead.")
            if source in weights and weights[source].shape == own.shape and self.takes_over(source, previous):
                found[name] = weights[source]
        return found

    def takes_over(self, tensor: str, previous: SDEConfig) -> bool:
        """Whether a tensor of a policy trained under `previous` can go on here: what all processes have, and own ones.

        Args:
            tensor: Its name there, such as `velocity.trunk.0.weight`; shapes have been compared.
            previous: Configuration of the other policy.
        """
        is_common = tensor == "start" or tensor.removeprefix("lead.").startswith(f"{VELOCITY}.")
        return is_common or previous.process.type == self.config.process.type

    def check_steps(self, denoising_steps: int, policy: str = "this policy") -> None:
        """Refuses to follow the process with another number of steps than it was made for.

        Args:
            denoising_steps: Number of steps `K`.
            policy: What the message calls the policy.

        Raises:
            InputError: If it depends on the number and `denoising_steps` is not the chain's own.
        """
        own = self.config.chain.denoising_steps
        if denoising_steps != own and self.depends_on_steps:
            raise InputError(
                f"The drift of {policy} was trained with {own} denoising steps and means something else with "
                f"{denoising_steps}: keep {own}, follow the plain flow (--variant flow, in Python mode='flow'), or "
                "fine-tune with 'score: {form: contraction, value: ...}', which is the same at every number."
            )


PROCESSES: Registry[type[DenoisingProcess]] = Registry("denoising process", "process.type")
"""Denoising processes by the name that `process: {type: ...}` gives them."""

DEFAULT_PROCESS = "gaussian"


def process_class(values: Mapping[str, Any]) -> type[DenoisingProcess]:
    """The process that the key `type` of a configuration names, the default one without it.

    Raises:
        InputError: No such process is registered.
    """
    return PROCESSES.choose(values.get("type", DEFAULT_PROCESS))


def make_process(observation_dim: int, chunk_dim: int, config: SDEConfig, horizon: int = 1) -> DenoisingProcess:
    """A fresh process for observations `[B, observation_dim]` and flattened chunks `[B, chunk_dim]`."""
    return PROCESSES.choose(config.process.type)(observation_dim, chunk_dim, config, horizon)
