"""Action chunks by index arithmetic on whole columns: no Python loop over samples or episodes."""

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view

from rllib_scoreflow.data.schema import Float32, Int64
from rllib_scoreflow.data.store import TrajectoryDataset
from rllib_scoreflow.errors import InputError

_MOST_LOST = 0.9  # share of the episodes that may be shorter than a chunk


class ChunkIndex:
    """Where whole chunks of `horizon` steps lie within the episodes of a dataset.

    Attributes:
        horizon: H, environment steps per chunk.
        starts: [M] int64, every row at which H rows of the same episode begin, ascending.
        num_episodes: episodes that hold at least one chunk.
        num_skipped_episodes: episodes shorter than a chunk, which contribute nothing.
    """

    def __init__(self, dataset: TrajectoryDataset, horizon: int) -> None:
        """Index a dataset.

        Args:
            dataset: the dataset; only its episode offsets are touched.
            horizon: H, at least 1.

        Raises:
            InputError: H is below 1, or no episode (or hardly any) is as long as a chunk.
        """
        if horizon < 1:
            raise InputError(f"horizon is {horizon}; a chunk needs at least 1 step")
        offsets = dataset.episode_offsets
        lengths = np.diff(offsets)
        fits = lengths >= horizon
        if not fits.any():
            raise InputError(
                f"dataset {dataset.info.name}: no episode is as long as a chunk of horizon "
                f"{horizon} steps, the longest has {lengths.max()}; choose a horizon of at most "
                f"{lengths.max()}"
            )
        lost = 1.0 - fits.mean()
        if lost > _MOST_LOST:
            raise InputError(
                f"dataset {dataset.info.name}: {len(fits) - fits.sum()} of {len(fits)} episodes are shorter than a "
                f"chunk of horizon {horizon} steps (half of them have at most {int(np.median(lengths))}), so nearly "
                "all are lost; choose a smaller horizon, or correct the ends of the episodes"
            )
        self.horizon = horizon
        self.num_episodes = int(fits.sum())
        self.num_skipped_episodes = len(lengths) - self.num_episodes
        rows = np.arange(offsets[-1], dtype=np.int64)
        self.starts: Int64 = rows[rows + horizon <= np.repeat(offsets[1:], lengths)]
        self._episodes: Int64 = np.repeat(np.arange(self.num_episodes), lengths[fits] - horizon + 1)

    def note(self) -> str | None:
        """Return a sentence without its full stop on the episodes that contribute nothing, None where all do."""
        if not self.num_skipped_episodes:
            return None
        return (
            f"{self.num_skipped_episodes} of {self.num_skipped_episodes + self.num_episodes} episodes are shorter than "
            f"a chunk of {self.horizon} steps and are not used"
        )

    def __len__(self) -> int:
        """Return M, the number of chunks."""
        return len(self.starts)

    def split(self, validation_fraction: float, seed: int) -> tuple[Int64, Int64]:
        """Divide the chunks into training and validation, whole episodes each.

        The same arguments give the same division. With a fraction above 0 each side gets at least
        one episode.

        Args:
            validation_fraction: share of the episodes (not of the chunks) held out, in [0, 1).
            seed: of the choice of episodes.

        Returns:
            starts of training [M1] and validation [M2], int64, ascending, M1 + M2 = M.

        Raises:
            InputError: a fraction outside [0, 1), or a single episode and a fraction above 0.
        """
        if not 0.0 <= validation_fraction < 1.0:
            raise InputError(
                f"validation_fraction is {validation_fraction}; give a number from 0 up to, not including, 1"
            )
        if validation_fraction == 0.0:
            return self.starts, self.starts[:0]
        if self.num_episodes == 1:
            raise InputError(
                "the dataset holds one episode with whole chunks, which cannot be divided; set validation_fraction to 0"
            )
        held_out = round(validation_fraction * self.num_episodes)
        held_out = min(max(held_out, 1), self.num_episodes - 1)
        validation = np.zeros(self.num_episodes, np.bool_)
        validation[np.random.default_rng(seed).permutation(self.num_episodes)[:held_out]] = True
        chosen = validation[self._episodes]
        return self.starts[~chosen], self.starts[chosen]


def gather_chunks(observations: Float32, actions: Float32, starts: Int64, horizon: int) -> tuple[Float32, Float32]:
    """Copy a batch of chunks out of the columns.

    Args:
        observations: [N, O] float32.
        actions: [N, A] float32, C-contiguous (as `TrajectoryDataset` gives them).
        starts: [B] int64, rows from `ChunkIndex`; this function does not check episodes.
        horizon: H.

    Returns:
        observations [B, O] at the starts, and actions [B, H * A] of the H steps from there on, step
        by step (the A values of the first step come first). Both are fresh, writable float32.

    Raises:
        IndexError: a chunk would run past the last row.
    """
    # H rows of actions lie side by side in memory, so a chunk is one window over the flat column.
    width = actions.shape[1]
    windows = sliding_window_view(actions.reshape(-1), horizon * width)[::width]
    return observations[starts], windows[starts]
