"""The action distribution of a denoising process: a Markov chain of Gaussian transitions."""

from collections.abc import Mapping

import torch

from rllib_scoreflow.flow.chain_gaussian import ChainGaussian, ChainScale
from rllib_scoreflow.flow.processes import ChainEvaluation, DenoisingProcess, Transition
from rllib_scoreflow.flow.start import Start
from rllib_scoreflow.flow.time_grid import time_grid


class ChainDistribution:
    """Distribution over denoising chains `x_0 -> x_1 -> ... -> x_K` given observations.

    The chain has exact Gaussian transitions whatever the drift and the noise are, so that
    `log pi(chain | o) = log N(x_0; 0, I) + sum_k log N(x_{k+1}; mean_k, sigma_k^2)` over its random steps
    (arXiv 2505.22094, section 3); the first term is left out where the start is not drawn (`ChainConfig.start`).
    A chain is a float32 tensor `[B, K + 1, D]`; `D = horizon * action_dim`. Its last entry is the drawn chunk before it
    is clipped to the action bounds, so that the stored values are the ones whose density is evaluated. Where the
    process leaves its first steps untrained (`DenoisingProcess.lead`), the chain begins behind them, and has a point
    for each of the others alone; the density of that point, which no trained parameter moves, is left out.

    Attributes:
        process: The denoising process.
        observation: Normalised observations, `[B, O]`.
        denoising_steps: Number of steps from noise to action.
        first: The step with which the chain begins: 0, or behind the untrained ones.
        random_steps: Numbers of the steps that are drawn and scored.
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
        self.first = process.lead_steps(denoising_steps)
        self.random_steps = process.random_steps(denoising_steps) if process.is_stochastic else range(0)
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

    def draw_step(self, generator: torch.Generator | None = None) -> torch.Tensor | None:
        """The number of the one random step of every chain, int64 `[B]`, or None where it is not drawn."""
        if self.process.config.chain.random_steps != "one" or not self.random_steps:
            return None
        rows, device = self.observation.shape[0], self.observation.device
        return torch.randint(
            self.random_steps.start, self.random_steps.stop, (rows,), generator=generator, device=device
        )

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
            explore: `False` takes every step without a draw (`DenoisingProcess.quiet_step`).
            generator: Source of randomness; torch's global one when `None`.

        Raises:
            InputError: If the drift belongs to another number of steps (`DenoisingProcess.check_steps`).
        """
        return self._draw(initial, explore, generator, self.draw_step(generator) if explore else None)[0]

    def sample_with_logp(
        self,
        *,
        initial: torch.Tensor | None = None,
        generator: torch.Generator | None = None,
        random_step: torch.Tensor | None = None,
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Draws chains `[B, K + 1, D]` and their log-probability `[B]`, `logp(chain)` up to rounding.

        The transitions that the draw went through are kept, which saves evaluating them a second time.

        Args:
            initial: `x_0 [B, D]`; drawn when `None`.
            generator: Source of randomness; torch's global one when `None`.
            random_step: Of `draw_step`, which says where it must be given.

        Raises:
            ValueError: If the variant has no noise, hence no density.
            InputError: If the drift belongs to another number of steps (`DenoisingProcess.check_steps`).
        """
        self._require_density()
        self._check_step(random_step)
        chain, steps = self._draw(initial, True, generator, random_step)
        mean = torch.stack([step.mean for step in steps], dim=1)
        std = torch.stack([step.std for step in steps], dim=1)
        if random_step is None:
            return chain, ChainGaussian.of_steps(chain, mean, std, self.scale).logp(chain)
        rows, place = torch.arange(len(chain), device=chain.device), random_step - self.random_steps.start
        one = (mean[rows, place].unsqueeze(1), std[rows, place].unsqueeze(1))
        return chain, ChainGaussian.of_one_step(chain, *one, random_step - self.first + 1, self.scale).logp(chain)

    def sample_flow(
        self,
        *,
        initial: torch.Tensor | None = None,
        generator: torch.Generator | None = None,
        behind_lead: bool = False,
    ) -> torch.Tensor:
        """Integrates the plain flow (`alpha = 0`, no noise); the chunk `x_K [B, D]`.

        Args:
            initial: `x_0 [B, D]`; drawn when `None`.
            generator: Source of randomness; torch's global one when `None`.
            behind_lead: Whether `initial` is where a chain begins, behind the untrained steps.
        """
        x = self.initial_draw(generator) if initial is None else initial
        for k in range(self.first if behind_lead else 0, self.denoising_steps):
            x = self._process_at(k).flow_step(x, self._time(k, x), self.observation, self.dt)
        return x

    def along(
        self, chain: torch.Tensor, random_step: torch.Tensor | None = None
    ) -> tuple[ChainGaussian, Mapping[str, torch.Tensor]]:
        """The `n` random transitions along chains `[B, K + 1, D]`, from one network pass of batch `B * n`.

        Args:
            chain: Stored chains.
            random_step: What `draw_step` gave when they were drawn.

        Returns:
            The Gaussian of the points that they lead to, and the transitions' details, `[B, n, ...]` or scalars.

        Raises:
            ValueError: If the variant has no noise, hence no density.
            InputError: If the drift belongs to another number of steps (`DenoisingProcess.check_steps`).
        """
        self._require_density()
        self.process.check_steps(self.denoising_steps)
        self._check_step(random_step)
        if random_step is not None:
            return self._along_one(chain, random_step)
        batch, steps, dim = chain.shape[0], len(self.random_steps), chain.shape[2]
        begin = self.random_steps.start - self.first
        step = self.process.transition(
            chain[:, begin : begin + steps].reshape(-1, dim),
            self.times[self.random_steps.start :][:steps].repeat(batch).unsqueeze(-1),
            self.observation.repeat_interleave(steps, dim=0),
            self.dt,
        )
        mean, std = step.mean.view(batch, steps, dim), step.std.reshape(batch, steps, dim)
        details = {
            name: detail.view(batch, steps, *detail.shape[1:]) if detail.dim() else detail
            for name, detail in step.details.items()
        }
        return ChainGaussian.of_steps(chain, mean, std, self.scale), details

    def _along_one(
        self, chain: torch.Tensor, random_step: torch.Tensor
    ) -> tuple[ChainGaussian, Mapping[str, torch.Tensor]]:
        """As `along`, of the one random transition of every chain: a network pass of batch `B`."""
        point = random_step - self.first
        before = chain[torch.arange(len(chain), device=chain.device), point]
        step = self.process.transition(before, self.times[random_step].unsqueeze(-1), self.observation, self.dt)
        details = {name: detail.unsqueeze(1) if detail.dim() else detail for name, detail in step.details.items()}
        mean, std = step.mean.unsqueeze(1), step.std.unsqueeze(1)
        return ChainGaussian.of_one_step(chain, mean, std, point + 1, self.scale), details

    def _check_step(self, random_step: torch.Tensor | None) -> None:
        draws_one = self.process.config.chain.random_steps == "one"
        if draws_one != (random_step is not None):
            needed = "needs the number of each chain's random step" if draws_one else "has no one random step"
            raise ValueError(f"a chain with random_steps '{self.process.config.chain.random_steps}' {needed}")

    def evaluate(self, chain: torch.Tensor, random_step: torch.Tensor | None = None) -> ChainEvaluation:
        """Evaluates stored chains `[B, K + 1, D]`; arguments and errors as `along`."""
        gaussian, details = self.along(chain, random_step)
        return gaussian.evaluate(chain, details)

    def logp(self, chain: torch.Tensor) -> torch.Tensor:
        """Log-probability of chains `[B, K + 1, D]` on the configured scale, `[B]`."""
        return self.evaluate(chain).logp

    def entropy(self, chain: torch.Tensor) -> torch.Tensor:
        """Entropy of the transitions along chains `[B, K + 1, D]` on the configured scale, `[B]`."""
        return self.evaluate(chain).entropy

    def kl(self, other: "ChainDistribution", chain: torch.Tensor) -> torch.Tensor:
        """`KL(self || other)` in nats, `[B]`: the exact Gaussian KL of every random transition, summed along `chain`.

        Averaged over chains drawn from `self` it estimates the KL of the chain distributions without the variance
        of the draws within a transition.
        """
        return self.along(chain)[0].kl(other.along(chain)[0])

    @property
    def chain_shape(self) -> tuple[int, int]:
        """Points of a chain (`K + 1`, or fewer where it begins behind untrained steps), and their size `D`."""
        return self.denoising_steps - self.first + 1, self.process.chunk_dim

    @property
    def scale(self) -> ChainScale:
        """Which points of a chain are drawn, and the scale of the density."""
        chain, steps = self.process.config.chain, self.random_steps
        num_scored = 1 if chain.random_steps == "one" else len(steps)
        return ChainScale(
            drawn=slice(steps.start - self.first + 1, steps.stop - self.first + 1),
            steps=steps,
            draws_start=self.first == 0 and chain.start == "normal",
            divisor=float((num_scored + 1) * self.process.chunk_dim) if chain.normalize_logp else 1.0,
            clamp=chain.logp_clamp,
            draws_one=chain.random_steps == "one",
        )

    def _require_density(self) -> None:
        if not self.random_steps:
            raise ValueError("the deterministic flow has no log-probability; choose a noise kind")

    def _time(self, k: int, x: torch.Tensor) -> torch.Tensor:
        return self.times[k].expand(x.shape[0], 1)

    def _process_at(self, k: int) -> DenoisingProcess:
        lead = self.process.lead
        return self.process if lead is None or k >= self.first else lead

    def _draw(
        self,
        initial: torch.Tensor | None,
        explore: bool,
        generator: torch.Generator | None,
        random_step: torch.Tensor | None = None,
    ) -> tuple[torch.Tensor, list[Transition]]:
        """Chains, and the transitions that were drawn, or where `random_step` says which, might have been."""
        self.process.check_steps(self.denoising_steps)
        x = self.initial_draw(generator) if initial is None else initial
        clip = self.process.config.chain.draw_clip
        chain, steps = [], []
        for k in range(self.denoising_steps):
            process = self._process_at(k)
            if k >= self.first:
                chain.append(x)
            if explore and (process is not self.process or k in self.random_steps):
                step = process.transition(x, self._time(k, x), self.observation, self.dt)
                z = torch.randn(x.shape, generator=generator, device=x.device)
                spread = step.std * (z if clip is None else z.clamp(-clip, clip))
                if random_step is not None and process is self.process:
                    spread = spread * (random_step == k).unsqueeze(-1)
                x = step.mean + spread
                if process is self.process:
                    steps.append(step)
            else:
                x = process.quiet_step(x, self._time(k, x), self.observation, self.dt)
        return torch.stack([*chain, x], dim=1), steps
