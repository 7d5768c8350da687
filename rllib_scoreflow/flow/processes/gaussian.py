"""The process of this package: one Gaussian transition for sampling and for the log-probability of every variant."""

from collections.abc import Mapping
from typing import ClassVar, Literal

import torch
from torch import nn

from rllib_scoreflow.flow.alpha import Alpha
from rllib_scoreflow.flow.kernel import CPS, Step, coupling_of
from rllib_scoreflow.flow.noise import NoiseNetwork, annealed_sigma_max
from rllib_scoreflow.flow.processes.base import PROCESSES, DenoisingProcess, ProcessConfig, SDEConfig
from rllib_scoreflow.flow.score import closed_form_score
from rllib_scoreflow.flow.time_grid import time_grid
from rllib_scoreflow.flow.transition import ChainEvaluation, MaskedSum, Transition, masked_sum

_SMALLEST_STD = 1e-6  # a learned drift that has vanished still leaves a density


class GaussianConfig(ProcessConfig):
    """The process of this package; its options are the sections `score` and `noise`."""

    type: Literal["gaussian"] = "gaussian"
    """Process, by its name in `rllib_scoreflow.flow.processes.PROCESSES`."""


@PROCESSES.register("gaussian")
class GaussianDenoising(DenoisingProcess):
    """`x_s = a(s) D^ + w N^ + sigma z` over action chunks (`rllib_scoreflow.flow.kernel`).

    With velocity `v`, drift and learned noise it is the Euler-Maruyama step of
    `dx = [v + alpha(t) score] dt + g(t, o) dW` (arXiv 2604.10962, section 4).

    Attributes:
        alpha: `alpha(t)`.
        noise: Learned sigma, or `None` where the variant has another one.
        coupling: Published choice of `w` and `sigma` together, or `None` where they are chosen apart.
    """

    CONFIG = GaussianConfig
    SECTIONS = ("score", "noise")
    LEARNING_RATES: ClassVar[Mapping[str, str]] = {"alpha": "alpha_lr", "sigma": "sigma_lr"}

    def __init__(self, observation_dim: int, chunk_dim: int, config: SDEConfig, horizon: int = 1) -> None:
        """Creates the networks for observations `[B, O]` and flattened chunks `[B, D]` of `horizon` steps."""
        super().__init__(observation_dim, chunk_dim, config, horizon)
        self.coupling = coupling_of(config.noise)
        self.alpha = Alpha(config.score)
        self.noise: NoiseNetwork | None = None
        if config.noise.kind == "learn":
            self.noise = NoiseNetwork(config.velocity.time_dim, observation_dim, chunk_dim, config.noise)

    @classmethod
    def check(cls, config: SDEConfig) -> None:
        """Refuses noise that does not fit the drift, or that is nowhere.

        Raises:
            ValueError: With the reason.
        """
        noise, score, chain = config.noise, config.score, config.chain
        coupling = coupling_of(noise)
        if noise.kind == "coupled" and not score.has_drift:
            raise ValueError("noise.kind 'coupled' needs a drift: sqrt(2 alpha dt) is 0 without one")
        if noise.kind == "coupled" and (score.form == "contraction" or score.steps == "first"):
            raise ValueError(
                "noise.kind 'coupled' needs a drift at every step: sqrt(2 alpha dt) is 0 where there is none; "
                "leave out score.form and score.steps"
            )
        if coupling is not None and score.has_drift:
            raise ValueError(f"noise.kind '{noise.kind}' has a drift of its own; set score.strength to 'none'")
        if isinstance(coupling, CPS) and (chain.denoising_steps == 1 or chain.random_steps == "last"):
            raise ValueError("noise.kind 'cps' has no noise at the last step; draw at earlier ones, of 2 or more")

    @property
    def is_stochastic(self) -> bool:
        """Whether a transition has noise, that is, whether the chain has a density."""
        return self.config.noise.kind != "none"

    @property
    def depends_on_steps(self) -> bool:
        """Whether the drift is an absolute alpha, which means something else at another number of steps."""
        return self.config.score.depends_on_steps

    def networks(self) -> dict[str, nn.Module]:
        """`velocity`, `alpha` and, where it is learned, `sigma`."""
        found: dict[str, nn.Module] = {"velocity": self.velocity, "alpha": self.alpha}
        return found if self.noise is None else {**found, "sigma": self.noise}

    def anneal(self, progress: float) -> None:
        """Sets the upper bound of the learned sigma."""
        if self.noise is not None:
            self.noise.sigma_max.fill_(annealed_sigma_max(self.config.noise, progress))

    def takes_over(self, tensor: str, previous: SDEConfig) -> bool:
        """As the base class, but for the noise's bound, and for a drift that means something else here."""
        own = self.config
        same_drift = previous.score.alpha_means_the_same(own.score) and (
            not own.score.depends_on_steps or previous.chain.denoising_steps == own.chain.denoising_steps
        )
        plain = tensor.removeprefix("lead.")
        if plain == "noise.sigma_max" or (plain.startswith("alpha.") and not same_drift):
            return False
        return super().takes_over(tensor, previous)

    def random_steps(self, denoising_steps: int) -> range:
        """As the base class, but for the last step of CPS, which has no noise."""
        steps = super().random_steps(denoising_steps)
        return steps[:-1] if isinstance(self.coupling, CPS) else steps

    def diagnostics(self, evaluation: ChainEvaluation) -> dict[str, torch.Tensor | MaskedSum]:
        """Where the kernel stands at every random step, and what bounds have cut.

        `alpha_ratio/step_k` is `alpha / alpha*` (method section 5): 1 preserves the flow's marginals for small steps,
        below it they widen, above it they contract. `contraction/step_k` is `(w^2 + sigma^2) / c^2`, exact for steps of
        any length where the data is known: 1 preserves, above it they widen, below it they narrow; at the last step
        `c = 0`, and there is none.
        """
        num_steps, steps, step = self.config.chain.denoising_steps, evaluation.steps, evaluation.random_step
        std = evaluation.std.detach()
        times = time_grid(num_steps, std.device)
        kernel = Step.on(self.path, times[steps.start : steps.stop] if step is None else times[step], 1.0 / num_steps)
        # A figure for each step, of all chains; of chains with one random step for each chain, of its own.
        place, averaged = ((0, slice(None), 0), (0, 2)) if step is None else ((slice(None), 0, 0), (1, 2))
        w = evaluation.details["w"].detach()[place] if "w" in evaluation.details else kernel.c
        alpha = (kernel.c - w) * kernel.b / kernel.dt
        figures = {
            "alpha": alpha,
            "alpha_ratio": alpha / marginal_preserving_alpha(std, kernel.dt).mean(dim=averaged),
            "contraction": (w.square() + std.square().mean(dim=averaged)) / kernel.c.square(),
        }
        none = torch.zeros((), device=std.device)
        found: dict[str, torch.Tensor | MaskedSum] = {
            name: evaluation.details.get(name, none) for name in ("score_clip_rate", "alpha_clamp_rate")
        }
        for number, k in enumerate(steps):
            for name, values in figures.items():
                if name != "contraction" or k < num_steps - 1:
                    found[f"{name}/step_{k}"] = values[number] if step is None else masked_sum(values, step == k)
        return found

    def transition(self, x: torch.Tensor, t: torch.Tensor, observation: torch.Tensor, dt: float) -> Transition:
        """The transition from `x` at `t` by one step of length `dt`.

        Args:
            x: `[B, D]`.
            t: Grid times in `[0, 1)`, `[B, 1]`.
            observation: Normalised observations, `[B, O]`.
            dt: Step length `1 / K`.
        """
        step = Step.on(self.path, t, dt)
        output = self.velocity(x, t, observation, dt)
        data, noise = self.path.estimates(output, x, step.a, step.b, self.config.chain.data_clip)
        removed = noise  # what the drift takes away of
        if self._drift_is_instantaneous(dt):
            # Not both in one pass of twice the batch: an exported graph would be tied to the batch it was traced with.
            instantaneous = self.velocity(x, t, observation, 0.0)
            _, removed = self.path.estimates(instantaneous, x, step.a, step.b, self.config.chain.data_clip)
        details, alpha = {}, None
        if self.coupling is not None:
            details["w"] = w = self.coupling.w(step)
            mean = step.mean(data, noise, w)
            if removed is not noise:
                mean = step.mean(data, noise, step.c) + (w - step.c) * removed
        elif self.config.score.strength == "none":
            mean = step.mean(data, noise, step.c)
        else:
            alpha, details["alpha_clamp_rate"] = self.alpha.with_clamp_rate(step)
            details["w"] = step.c - alpha * dt / step.b
            # `w N^`, but for the bound of the score, which is `-N^ / b`.
            score, details["score_clip_rate"] = closed_form_score(removed, step.b, self.config.score.clip)
            mean = step.mean(data, noise, step.c) + alpha * dt * score
        return Transition(self.bound_mean(mean), self._std(x, step, observation, alpha), details)

    def quiet_step(self, x: torch.Tensor, t: torch.Tensor, observation: torch.Tensor, dt: float) -> torch.Tensor:
        """The mean of the transition; where the drift is there for the noise's sake alone, the flow's step."""
        if self.coupling is not None:
            return self.flow_step(x, t, observation, dt)
        return super().quiet_step(x, t, observation, dt)

    def _drift_is_instantaneous(self, dt: float) -> bool:
        """Whether the drift needs the velocity at step length 0 beside the one to follow."""
        score = self.config.score
        has_drift = self.coupling is not None or score.strength != "none"
        # At t = 0 the noise is x_0, whatever the velocity is.
        beyond_the_first = score.steps != "first" and dt < 1.0
        averages = self.config.velocity.takes_step_size and score.shortcut_velocity == "instantaneous"
        return has_drift and beyond_the_first and averages

    def _std(self, x: torch.Tensor, step: Step, observation: torch.Tensor, alpha: torch.Tensor | None) -> torch.Tensor:
        kind = self.config.noise.kind
        if self.coupling is not None:
            return self.coupling.sigma(step).expand_as(x)
        if kind == "none":
            return torch.zeros_like(x)
        if kind == "constant":
            return torch.full_like(x, self.config.noise.sigma_max)
        if kind == "coupled":
            assert alpha is not None, "SDEConfig has seen to it"
            return torch.sqrt(2.0 * alpha * step.dt).clamp_min(_SMALLEST_STD).expand_as(x)
        assert self.noise is not None
        std: torch.Tensor = self.noise(self.velocity.time_features(step.t, step.dt), observation)
        return std


def marginal_preserving_alpha(std: torch.Tensor, dt: float) -> torch.Tensor:
    """`alpha* = sigma^2 / (2 dt)`: the drift at which the flow's marginals are preserved; same shape as `std`.

    `alpha < alpha*` widens the density, `alpha > alpha*` contracts it towards the modes (Fokker-Planck of the SDE).
    """
    return std.square() / (2.0 * dt)
