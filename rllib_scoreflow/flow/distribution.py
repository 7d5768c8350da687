"""The action distribution of a denoising process: a Markov chain of Gaussian transitions."""

import math

import torch

from rllib_scoreflow.flow.processes import ChainEvaluation, DenoisingProcess, Transition
from rllib_scoreflow.flow.start import Start
from rllib_scoreflow.flow.time_grid import time_grid

LOG_2PI = math.log(2.0 * math.pi)


class ChainDistribution:
    """Distribution over denoising chains `x_0 -> x_1 -> ... -> x_K` given observations.

    The chain has exact Gaussian transitions whatever the drift and the noise are, so that
    `log pi(chain | o) = log N(x_0; 0, I) + sum_k log N(x_{k+1}; mean_k, sigma_k^2)` (arXiv 2505.22094, section 3);
    the first term is left out where the start is not drawn (`ChainConfig.start`).
    A chain is a float32 tensor `[B, K + 1, D]`; `D = horizon * action_dim`. Its last entry is the drawn chunk before
    it is clipped to the action bounds, so that the stored values are the ones whose density is evaluated.
    """

    def __init__(
        self, process: DenoisingProcess, observation: torch.Tensor, denoising_steps: int | None = None
    ) -> None:
        """Conditions the process on normalised observations `[B, O]`."""
        self.process = process
        self.observation = observation
        if denoising_steps is None:
            denoising_steps = process.config.chain.denoising_steps
        if denoising_steps < 1:
            raise ValueError(f"a chain needs at least one denoising step, got {denoising_steps}")
        self.denoising_steps = denoising_steps
        self.dt = 1.0 / self.denoising_steps
        self.times = time_grid(self.denoising_steps, observation.device)

    def initial_draw(self, generator: torch.Generator | None = None, start: Start | None = None) -> torch.Tensor:
        """`x_0 [B, D]`, as `ChainConfig.start` says, or `start` in its place; a drawn one is `N(0, I)` in this package.

        Raises:
            ValueError: If a learned start is asked for and the policy has none.
        """
        start = start or self.process.config.chain.start
        if start == "normal":
            return self.process.initial_draw(self.observation, generator)
        vector = self.process.start
        if start == "zero":
            vector = torch.zeros(self.process.chunk_dim, device=self.observation.device)
        if vector is None:
            raise ValueError("this policy has no learned start; search one with rllib evaluate --search-start")
        return vector.expand(self.observation.shape[0], -1)

    def sample(
        self,
        *,
        initial: torch.Tensor | None = None,
        explore: bool = True,
        generator: torch.Generator | None = None,
    ) -> torch.Tensor:
        """Draws chains `[B, K + 1, D]`.

        Args:
            initial: `x_0 [B, D]`; drawn when `None`.
            explore: `False` follows the transition means (the modulated drift without noise).
            generator: Source of randomness; torch's global one when `None`.

        Raises:
            InputError: If the drift belongs to another number of steps (`DenoisingProcess.check_steps`).
        """
        return self._draw(initial, explore, generator)[0]

    def sample_with_logp(
        self, *, initial: torch.Tensor | None = None, generator: torch.Generator | None = None
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Draws chains `[B, K + 1, D]` and their log-probability `[B]`, `logp(chain)` up to rounding.

        The transitions that the draw went through are kept, which saves evaluating them a second time.

        Raises:
            ValueError: If the variant has no noise, hence no density.
            InputError: If the drift belongs to another number of steps (`DenoisingProcess.check_steps`).
        """
        chain, steps = self._draw(initial, True, generator)
        mean = torch.stack([step.mean for step in steps], dim=1)
        std = torch.stack([step.std for step in steps], dim=1)
        return chain, self._clamp_logp(self._raw_logp(chain, mean, std) / self._divisor)[0]

    def sample_flow(
        self,
        *,
        initial: torch.Tensor | None = None,
        generator: torch.Generator | None = None,
    ) -> torch.Tensor:
        """Integrates the plain flow (`alpha = 0`, no noise); the chunk `x_K [B, D]`.

        Args:
            initial: `x_0 [B, D]`; drawn when `None`.
            generator: Source of randomness; torch's global one when `None`.
        """
        x = self.initial_draw(generator) if initial is None else initial
        for k in range(self.denoising_steps):
            t = self.times[k].expand(x.shape[0], 1)
            x = self.process.flow_step(x, t, self.observation, self.dt)
        return x

    def evaluate(self, chain: torch.Tensor) -> ChainEvaluation:
        """Evaluates stored chains `[B, K + 1, D]` with all `K` transitions in one network pass of batch `B * K`.

        Raises:
            ValueError: If the variant has no noise, hence no density.
            InputError: If the drift belongs to another number of steps (`DenoisingProcess.check_steps`).
        """
        self.process.check_steps(self.denoising_steps)
        batch, steps, dim = chain.shape[0], self.denoising_steps, chain.shape[2]
        times = self.times.repeat(batch).unsqueeze(-1)
        step = self.process.transition(
            chain[:, :-1].reshape(-1, dim),
            times,
            self.observation.repeat_interleave(steps, dim=0),
            self.dt,
        )
        mean = step.mean.view(batch, steps, dim)
        std = step.std.reshape(batch, steps, dim)
        raw_logp = self._raw_logp(chain, mean, std)
        raw_entropy = std.log().sum(dim=(1, 2)) + 0.5 * self._num_drawn * (1.0 + LOG_2PI)
        logp, clamp_rate = self._clamp_logp(raw_logp / self._divisor)
        return ChainEvaluation(
            logp=logp,
            raw_logp=raw_logp,
            logp_divisor=self._divisor,
            entropy=raw_entropy / self._divisor,
            mean=mean,
            std=std,
            details={
                name: detail.view(batch, steps, *detail.shape[1:]) if detail.dim() else detail
                for name, detail in step.details.items()
            },
            logp_clamp_rate=clamp_rate,
        )

    def logp(self, chain: torch.Tensor) -> torch.Tensor:
        """Log-probability of chains `[B, K + 1, D]` on the configured scale, `[B]`."""
        return self.evaluate(chain).logp

    def entropy(self, chain: torch.Tensor) -> torch.Tensor:
        """Entropy of the transitions along chains `[B, K + 1, D]` on the configured scale, `[B]`."""
        return self.evaluate(chain).entropy

    def kl(self, other: "ChainDistribution", chain: torch.Tensor) -> torch.Tensor:
        """`KL(self || other)` in nats, `[B]`: the exact Gaussian KL of every transition, summed along `chain`.

        Averaged over chains drawn from `self` it estimates the KL of the chain distributions without the variance
        of the draws within a transition.
        """
        mine, theirs = self.evaluate(chain), other.evaluate(chain)
        variance = (mine.std / theirs.std).square()
        distance = ((mine.mean - theirs.mean) / theirs.std).square()
        return 0.5 * (variance + distance - 1.0 - variance.log()).sum(dim=(1, 2))

    @property
    def _size(self) -> float:
        return float((self.denoising_steps + 1) * self.process.chunk_dim)

    @property
    def _draws_start(self) -> bool:
        return self.process.config.chain.start == "normal"

    @property
    def _num_drawn(self) -> float:
        """How many numbers of a chain are drawn."""
        return self._size if self._draws_start else self._size - self.process.chunk_dim

    @property
    def _divisor(self) -> float:
        return self._size if self.process.config.chain.normalize_logp else 1.0

    def _draw(
        self, initial: torch.Tensor | None, explore: bool, generator: torch.Generator | None
    ) -> tuple[torch.Tensor, list[Transition]]:
        self.process.check_steps(self.denoising_steps)
        x = self.initial_draw(generator) if initial is None else initial
        clip = self.process.config.chain.draw_clip
        chain, steps = [x], []
        for k in range(self.denoising_steps):
            t = self.times[k].expand(x.shape[0], 1)
            step = self.process.transition(x, t, self.observation, self.dt)
            x = step.mean
            if explore and self.process.is_stochastic:
                z = torch.randn(x.shape, generator=generator, device=x.device)
                x = x + step.std * (z if clip is None else z.clamp(-clip, clip))
            chain.append(x)
            steps.append(step)
        return torch.stack(chain, dim=1), steps

    def _raw_logp(self, chain: torch.Tensor, mean: torch.Tensor, std: torch.Tensor) -> torch.Tensor:
        """Sum of the log-densities of the start, if it is drawn, and of all transitions, in nats, `[B]`."""
        if not self.process.is_stochastic:
            raise ValueError("the deterministic flow has no log-probability; choose a noise kind")
        squared = ((chain[:, 1:] - mean) / std).square().sum(dim=(1, 2))
        if self._draws_start:
            squared = squared + chain[:, 0].square().sum(dim=-1)
        return -0.5 * (squared + self._num_drawn * LOG_2PI) - std.log().sum(dim=(1, 2))

    def _clamp_logp(self, logp: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        clamp = self.process.config.chain.logp_clamp
        if clamp is None:
            return logp, torch.zeros((), device=logp.device)
        rate = (logp.detach().abs() > clamp).float().mean()
        return logp.clamp(-clamp, clamp), rate
