"""Sizes of a benchmark run."""

from dataclasses import dataclass

HORIZON = 4
"""Actions of a chunk, all of which are executed (published setting)."""
DENOISING_STEPS = 4
"""Steps `K` of a chain (published setting)."""


@dataclass(frozen=True)
class Task:
    """A dataset and the environment that it was recorded in."""

    dataset: str
    env_id: str


TASKS = {"hopper": Task("hopper-small", "Hopper-v4")}
"""Tasks whose dataset is shipped with the package."""


@dataclass(frozen=True)
class Settings:
    """What a run measures.

    Attributes:
        dataset: Of the pretraining.
        env_id: Of the rollouts.
        num_envs: Environments of the one EnvRunner.
        threads: Torch's threads.
        pretraining_rounds: Measured epochs.
        bare_steps: Gradient steps of the bare loop before and after an epoch (at most an epoch's).
        finetuning_rounds: Measured iterations of ScoreFlow, after one that is not.
        rollout_chunks: Chunks per environment and iteration.
        num_epochs: Passes over the rollout in an update.
    """

    dataset: str
    env_id: str
    num_envs: int
    threads: int
    pretraining_rounds: int = 5
    bare_steps: int = 200
    finetuning_rounds: int = 3
    rollout_chunks: int = 500
    num_epochs: int = 5

    @classmethod
    def quick(cls, dataset: str, env_id: str, num_envs: int, threads: int) -> "Settings":
        """Sizes with which a run takes less than a minute on a quiet machine."""
        return cls(
            dataset,
            env_id,
            num_envs,
            threads,
            pretraining_rounds=2,
            bare_steps=80,
            finetuning_rounds=2,
            rollout_chunks=60,
            num_epochs=2,
        )
