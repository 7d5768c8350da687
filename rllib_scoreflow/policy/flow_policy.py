"""The policy: networks, normaliser and sampler, usable without Ray."""

from pathlib import Path
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
import torch
from torch import nn

from rllib_scoreflow.flow.config import ChainConfig, NoiseConfig, ProcessConfig, ScoreConfig, SDEConfig
from rllib_scoreflow.flow.distribution import ChainDistribution
from rllib_scoreflow.flow.processes import make_process
from rllib_scoreflow.flow.start import Start
from rllib_scoreflow.interface import Interface
from rllib_scoreflow.observations import IMAGES, STATE, Observation, num_rows
from rllib_scoreflow.policy.artefact import read_policy, rename_earlier, write_policy
from rllib_scoreflow.policy.metadata import PolicyConfig, PolicyMetadata
from rllib_scoreflow.policy.normalizer import MinMaxNormalizer
from rllib_scoreflow.policy.tensors import to_tensors
from rllib_scoreflow.policy.vision import encode, make_encoder

FloatArray = npt.NDArray[np.float32]
_PROCESS = "sde."
_START = "sde.start"


class FlowPolicy(nn.Module):
    """Raw observations in, raw action chunks out.

    Attributes:
        config: Shapes and architecture.
        metadata: Origin of the policy.
        observation_normalizer: Statistics of the dataset's observations.
        action_normalizer: Statistics of the dataset's actions.
        encoder: Of the camera images; None for a policy that sees the state alone.
        sde: The denoising process: the velocity, and what fine-tuning adds to it.
    """

    def __init__(
        self,
        config: PolicyConfig,
        *,
        observation_low: FloatArray,
        observation_high: FloatArray,
        action_low: FloatArray,
        action_high: FloatArray,
        metadata: PolicyMetadata | None = None,
    ) -> None:
        """Creates a policy with fresh weights; the arrays are the dataset's minima and maxima, `[O]` and `[A]`."""
        super().__init__()
        self.config = config
        self.metadata = metadata or PolicyMetadata()
        self.observation_normalizer = MinMaxNormalizer(observation_low, observation_high)
        self.action_normalizer = MinMaxNormalizer(action_low, action_high)
        self.encoder = make_encoder(config)
        features = 0 if self.encoder is None else self.encoder.output_dim
        self.sde = make_process(features + config.observation_dim, config.chunk_dim, config.sde, config.horizon)
        self.register_load_state_dict_pre_hook(_rename_earlier)  # type: ignore[no-untyped-call]

    @classmethod
    def blank(cls, config: PolicyConfig, metadata: PolicyMetadata | None = None) -> "FlowPolicy":
        """A policy of this shape whose weights and statistics (here `[-1, 1]`) are about to be loaded.

        Torch's global random state is left as it was: exporting a policy must not change what is sampled next.
        """
        observation = np.ones(config.observation_dim, dtype=np.float32)
        action = np.ones(config.action_dim, dtype=np.float32)
        with torch.random.fork_rng(devices=[]):
            return cls(
                config,
                observation_low=-observation,
                observation_high=observation,
                action_low=-action,
                action_high=action,
                metadata=metadata,
            )

    def interface(self, name: str) -> Interface:
        """What an environment has to fit; the bounds are the dataset's actions, `name` is what messages call it."""
        config, low, high = self.config, self.action_normalizer.low, self.action_normalizer.high
        return Interface(
            kind="policy",
            name=name,
            observation_dim=config.observation_dim,
            action_dim=config.action_dim,
            action_low=low.cpu().numpy(),
            action_high=high.cpu().numpy(),
            image_shape=config.image_shape,
            cameras=config.cameras,
        )

    def features(self, observation: Any) -> torch.Tensor:
        """What the networks see of raw observations: normalised state `[B, O]`, in front of it the image features.

        Args:
            observation: float32 `[B, O]`; with cameras a dictionary of `state` and `images` (uint8 `[B, V, H, W, 3]`).
        """
        return encode(self.observation_normalizer, self.encoder, observation)

    def distribution(self, observation: Any, denoising_steps: int | None = None) -> ChainDistribution:
        """The chain distribution given raw observations, as in `features`."""
        return ChainDistribution(self.sde, self.features(observation), denoising_steps)

    def to_actions(self, chunk: torch.Tensor) -> torch.Tensor:
        """The end `x_K [B, D]` of a chain as raw actions `[B, D]`: clipped to `[-1, 1]` and denormalised."""
        return self.action_normalizer.denormalize_within(chunk.clamp(-1.0, 1.0))

    @torch.no_grad()
    def act(
        self,
        observation: Any,
        *,
        mode: Literal["policy", "flow"] = "policy",
        explore: bool = False,
        denoising_steps: int | None = None,
        start: Start | None = None,
        initial: FloatArray | None = None,
        generator: torch.Generator | None = None,
    ) -> FloatArray:
        """Predicts raw action chunks.

        Args:
            observation: Raw observations, `[N, O]` or `[O]`; with cameras a dictionary of `state`, so shaped, and
                `images`, uint8 `[N, V, H, W, 3]` or `[V, H, W, 3]`.
            mode: `"policy"` follows the drift the policy was trained with, `"flow"` the plain flow (`alpha = 0`).
            explore: Draw with the policy's noise; without it the chain follows its means.
            denoising_steps: Number of steps `K`; the policy's own when `None`.
            start: Where the chain starts, see `ChainConfig.start`; the policy's own when `None`.
            initial: The start itself, float32 `[N, H * A]` or `[H * A]`; as `start` says when `None`.
            generator: Source of the randomness; torch's global one when `None`.

        Returns:
            Float32 `[N, H * A]`, or `[H * A]` for a single observation.

        Raises:
            ValueError: If the observations or `initial` have other dimensions than the policy's, or a learned start is
                asked for and it has none.
            InputError: If `denoising_steps` is another number than the one that the policy's drift belongs to.
        """
        batch, single = self._as_batch(observation)
        device = self.action_normalizer.low.device
        distribution = self.distribution(to_tensors(batch, device), denoising_steps)
        if initial is None:
            x = distribution.initial_draw(generator, start)
        else:
            x = self._as_start(initial, num_rows(batch))
        if mode == "flow":
            chunk = distribution.sample_flow(initial=x)
        else:
            chain = distribution.sample(initial=x, explore=explore, generator=generator)
            chunk = chain[:, -1]
        actions: FloatArray = self.to_actions(chunk).cpu().numpy()
        return actions[0] if single else actions

    def _as_batch(self, observation: Any) -> tuple[Observation, bool]:
        """Arrays with a batch axis in front, and whether it had to be added."""
        expected: dict[str, tuple[int, ...]] = {STATE: (self.config.observation_dim,)}
        if self.config.image_shape is not None:
            expected[IMAGES] = self.config.image_shape
        given = observation if isinstance(observation, dict) else {STATE: observation}
        if given.keys() != expected.keys():
            raise ValueError(f"observations hold {sorted(given)}, this policy needs {sorted(expected)}")
        types = {STATE: np.float32, IMAGES: np.uint8}
        arrays = {name: np.asarray(value, dtype=types[name]) for name, value in given.items()}
        single = arrays[STATE].ndim == 1
        if single:
            arrays = {name: value[np.newaxis] for name, value in arrays.items()}
        for name, shape in expected.items():
            if arrays[name].shape != (len(arrays[STATE]), *shape):
                raise ValueError(
                    f"observations of shape {np.shape(given[name])} ('{name}') do not fit this policy of {shape}; "
                    "give one observation or a batch of them"
                )
        return (arrays if self.encoder is not None else arrays[STATE]), single

    def _as_start(self, initial: FloatArray, rows: int) -> torch.Tensor:
        given = np.asarray(initial, dtype=np.float32)
        shape = (rows, self.config.chunk_dim)
        if given.shape not in (shape, shape[1:] if rows == 1 else shape):
            raise ValueError(
                f"initial of shape {given.shape} does not fit these observations; give it the shape {shape}"
            )
        return torch.from_numpy(given.reshape(shape)).to(self.action_normalizer.low.device)

    def with_dynamics(
        self,
        score: ScoreConfig,
        noise: NoiseConfig,
        chain: ChainConfig,
        variant: str,
        process: ProcessConfig | None = None,
    ) -> "FlowPolicy":
        """A policy with this one's encoder, velocity field and normaliser, and another process, drift, noise and chain.

        The process's other networks are taken over as well where their shapes agree and they mean the same
        (`DenoisingProcess.inherit`), so that fine-tuning can go on from a fine-tuned policy.

        Args:
            score: Drift of the process of this package.
            noise: Its noise.
            chain: Steps and scale of the log-probability.
            variant: Name for the metadata.
            process: Denoising process; that of this package when `None`.

        Raises:
            pydantic.ValidationError: If the sections do not fit each other.
        """
        own = self.config.sde
        chosen = {} if process is None else {"process": process}
        sde = SDEConfig(velocity=own.velocity, score=score, noise=noise, chain=chain, **chosen)
        other = FlowPolicy.blank(
            self.config.model_copy(update={"sde": sde}),
            self.metadata.model_copy(update={"variant": variant}),
        )
        mine, theirs = self.state_dict(), other.state_dict()
        fitting = {name: value for name, value in mine.items() if name in theirs and not name.startswith(_PROCESS)}
        fitting |= {f"{_PROCESS}{name}": value for name, value in other.sde.inherit(self.sde.state_dict(), own).items()}
        other.load_state_dict({**theirs, **fitting})
        return other

    def with_start(self, start: Start, vector: FloatArray | None = None) -> "FlowPolicy":
        """The same policy with another start of its chains.

        Args:
            start: See `ChainConfig.start`.
            vector: The learned start, float32 `[H * A]`; None: the one that the policy has.

        Raises:
            ValueError: If a learned start is asked for and there is none, or `vector` has another shape.
        """
        sde = self.config.sde
        chain = sde.chain.model_copy(update={"start": start})
        other = FlowPolicy.blank(
            self.config.model_copy(update={"sde": sde.model_copy(update={"chain": chain})}), self.metadata
        )
        weights = {name: value for name, value in self.state_dict().items() if name != _START}
        if start == "learned":
            if vector is not None:
                weights[_START] = torch.from_numpy(np.asarray(vector, dtype=np.float32)).reshape(self.config.chunk_dim)
            elif self.sde.start is not None:
                weights[_START] = self.sde.start
            else:
                raise ValueError("this policy has no learned start; give the vector")
        other.load_state_dict(weights)
        return other.eval()

    def plain_flow(self) -> "FlowPolicy":
        """This policy's flow, as cloned, without drift and noise."""
        return self.with_dynamics(ScoreConfig(strength="none"), NoiseConfig(kind="none"), self.config.sde.chain, "flow")

    def save(self, path: str | Path, *, overwrite: bool = False) -> Path:
        """Writes the artefact folder `path`; see `rllib_scoreflow.policy.artefact.write_policy`."""
        return write_policy(path, self.config, self.metadata, self.state_dict(), overwrite=overwrite)

    @classmethod
    def load(cls, path: str | Path) -> "FlowPolicy":
        """Reads an artefact folder; see `rllib_scoreflow.policy.artefact.read_policy`."""
        return read_policy(path, cls.blank)


def _rename_earlier(policy: nn.Module, weights: dict[str, torch.Tensor], prefix: str, *_: Any) -> None:
    """Lets checkpoints of earlier versions be loaded."""
    for name in [name for name in weights if name.startswith(prefix)]:
        now = prefix + rename_earlier(name.removeprefix(prefix))
        if now != name:
            weights[now] = weights.pop(name)
