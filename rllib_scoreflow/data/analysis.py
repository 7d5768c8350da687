"""What a dataset's numbers say about the settings to clone it with: lengths, constants, returns, and its modes.

The question of modes is whether a policy has to choose. Where nearly the same observation is followed by two groups of
action chunks with a gap between them, and the observation does not tell which one follows, a policy without chance
would play their mean. It is asked of the nearest neighbours of a sample of the states.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from rllib_scoreflow.data.chunks import ChunkIndex, gather_chunks
from rllib_scoreflow.data.schema import Float32, Int64
from rllib_scoreflow.data.store import TrajectoryDataset

Float64 = NDArray[np.float64]

LOOKAHEAD = 8
"""Steps ahead for which `Foresight` says how well the observation foretells the action."""
_STATES, _REFERENCES = 1_000, 20_000  # a second of work, whatever the dataset's size
_NEIGHBOURS, _CANDIDATES = 16, 256
_APART = 16  # steps of one episode within which neighbours are one and the same passage
_BLOCK = 64
# Of 16 draws from a normal or uniform distribution the widest inner gap is about a fifth of their range.
_GAP, _SIDE = 0.4, 3
_VISIBLE = 0.25  # of the distance of two chunks at random: what is nearer is one mode


@dataclass(frozen=True)
class Foresight:
    """How much of the actions the observation tells, by nearest neighbours from other passages.

    Attributes:
        states: how many states were looked at.
        distance: median distance to the nearest neighbour, as the root mean square over the observation's dimensions,
            each in its standard deviations.
        spread: [LOOKAHEAD] root-mean-square difference of the neighbours' actions 0, 1, ... steps after the
            observation, as a share of that of two actions at random: 0 if the observation tells all, 1 if nothing.
    """

    states: int
    distance: float
    spread: tuple[float, ...]


@dataclass(frozen=True)
class Modes:
    """Whether nearly the same observation is followed by different chunks of actions.

    Attributes:
        share: of the states, that whose neighbours' chunks fall into two groups.
        explained: how much of the group the observation tells: 1 all (a switch that the observation decides), 0
            nothing; 0 where there are no groups.
        start_share: `share` of the first states of the episodes alone, where a demonstrator decides.
    """

    share: float
    explained: float
    start_share: float


@dataclass(frozen=True, eq=False)
class Analysis:
    """What was measured of a dataset of N steps in E episodes.

    Attributes:
        lengths: shortest, median and longest episode, in steps.
        terminal_share: of the episodes, that which the environment ended.
        constant_observations: dimensions that never change.
        constant_actions: dimensions that never change.
        bound_share: of the action values, that which lie at the least or largest recorded value of their dimension.
        action_std: [A] standard deviations of the actions.
        return_mean: over episodes, of the undiscounted sum of rewards.
        return_std: its standard deviation.
        return_max: the largest.
        has_rewards: whether any reward differs from 0.
        success_share: of the episodes, that with a reward above 0, where all rewards are 0 or 1; else None.
        foresight: how much the observation tells.
        modes: whether a policy has to choose.
    """

    lengths: tuple[int, int, int]
    terminal_share: float
    constant_observations: tuple[int, ...]
    constant_actions: tuple[int, ...]
    bound_share: float
    action_std: Float64
    return_mean: float
    return_std: float
    return_max: float
    has_rewards: bool
    success_share: float | None
    foresight: Foresight
    modes: Modes


def analyse_dataset(dataset: TrajectoryDataset, *, horizon: int = 4, seed: int = 0) -> Analysis:
    """Measure a dataset; of large ones a sample of the states is looked at. Images are not.

    Args:
        dataset: opened.
        horizon: H, steps of the chunks in which modes are looked for; shorter where the episodes are.
        seed: of the sample.

    Raises:
        InputError: no episode is as long as a chunk of one step, see `ChunkIndex`.
    """
    lengths = np.diff(dataset.episode_offsets)
    returns = np.add.reduceat(dataset.rewards.astype(np.float64), dataset.episode_offsets[:-1])
    info = dataset.info
    varies = info.action_min != info.action_max
    at_bound = (dataset.actions == info.action_min) | (dataset.actions == info.action_max)
    sparse = np.isin(dataset.rewards, (0.0, 1.0)).all()
    successes = np.maximum.reduceat(dataset.rewards, dataset.episode_offsets[:-1]) > 0
    has_rewards = bool((dataset.rewards != 0).any())
    foresight, modes = _compare_neighbours(dataset, min(horizon, int(np.median(lengths))), seed)
    return Analysis(
        lengths=(int(lengths.min()), int(np.median(lengths)), int(lengths.max())),
        terminal_share=float(dataset.terminals.sum() / len(lengths)),
        constant_observations=_constant(info.observation_min, info.observation_max),
        constant_actions=_constant(info.action_min, info.action_max),
        bound_share=float(at_bound[:, varies].mean()),
        action_std=dataset.actions.astype(np.float64).std(axis=0),
        return_mean=float(returns.mean()),
        return_std=float(returns.std()),
        return_max=float(returns.max()),
        has_rewards=has_rewards,
        success_share=float(successes.mean()) if sparse and has_rewards else None,
        foresight=foresight,
        modes=modes,
    )


def _constant(low: Float32, high: Float32) -> tuple[int, ...]:
    return tuple(int(dimension) for dimension in np.flatnonzero(low == high))


def _compare_neighbours(dataset: TrajectoryDataset, horizon: int, seed: int) -> tuple[Foresight, Modes]:
    generator = np.random.default_rng(seed)
    starts = ChunkIndex(dataset, horizon).starts
    references = np.sort(generator.permutation(starts)[:_REFERENCES])
    looked_at = generator.permutation(len(references))[:_STATES]
    first = np.flatnonzero(np.isin(references, dataset.episode_offsets[:-1]))
    # Few of a sample's states begin an episode, so that these are looked at in any case.
    first = generator.permutation(first)[:_STATES]
    queries = np.unique(np.concatenate([looked_at, first]))
    episodes = np.searchsorted(dataset.episode_offsets, references, side="right")
    raw_observations, raw_chunks = gather_chunks(dataset.observations, dataset.actions, references, horizon)
    observations, chunks = _standardise(raw_observations), _scale_actions(raw_chunks, dataset.actions)
    neighbours, distances = _find_neighbours(observations, references, episodes, queries)
    usable = neighbours[:, 0] >= 0
    queries, neighbours, distances = queries[usable], neighbours[usable], distances[usable]
    if not len(queries):  # one short episode
        return Foresight(0, float("inf"), (1.0,) * LOOKAHEAD), Modes(0.0, 0.0, 0.0)
    sampled = np.isin(queries, looked_at)
    pairs = references[queries[sampled]], references[neighbours[sampled, 0]]
    spread = _spread_ahead(dataset, pairs)
    foresight = Foresight(int(sampled.sum()), float(np.median(distances[sampled])), spread)
    groups, told, chance = _find_groups(observations, chunks, neighbours)
    starting = np.isin(queries, first)
    explained = (told[groups].sum() - chance[groups].sum()) / max((1.0 - chance[groups]).sum(), 1e-9)
    modes = Modes(
        share=float(groups[sampled].mean()),
        explained=float(np.clip(explained, 0.0, 1.0)) if groups.any() else 0.0,
        start_share=float(groups[starting].mean()) if starting.any() else 0.0,
    )
    return foresight, modes


def _standardise(values: Float32) -> Float64:
    """Return the columns that vary, [M, D'], each with mean 0 and deviation 1."""
    wide = values.astype(np.float64)
    deviation = wide.std(axis=0)
    varies = deviation > 1e-6 * np.maximum(1.0, np.abs(wide).max(axis=0))
    standard: Float64 = (wide[:, varies] - wide[:, varies].mean(axis=0)) / deviation[varies]
    return standard


def _scale_actions(chunks: Float32, actions: Float32) -> Float64:
    """Return chunks [M, H * A] in units of the actions' deviations; dimensions that never change become 0."""
    deviation = actions.astype(np.float64).std(axis=0)
    scale = np.where(deviation > 0, deviation, np.inf)
    scaled: Float64 = chunks / np.tile(scale, chunks.shape[1] // actions.shape[1])
    return scaled


def _find_neighbours(observations: Float64, rows: Int64, episodes: Int64, queries: Int64) -> tuple[Int64, Float64]:
    """Return the nearest states of other passages.

    Args:
        observations: [M, D] standardised.
        rows: [M] of the dataset.
        episodes: [M] their episodes.
        queries: [Q] positions among the M.

    Returns:
        positions [Q, k] of the neighbours, nearest first, -1 where there are fewer; distances [Q] to the nearest.
    """
    found = np.full((len(queries), _NEIGHBOURS), -1, np.int64)
    nearest = np.full(len(queries), np.inf)
    squares = (observations**2).sum(axis=1)
    several = len(np.unique(episodes)) > 1
    most = min(_CANDIDATES, len(observations))
    for begin in range(0, len(queries), _BLOCK):
        block = queries[begin : begin + _BLOCK]
        distances = squares[block, None] + squares - 2.0 * observations[block] @ observations.T
        own = episodes[block, None] == episodes if several else np.abs(rows[block, None] - rows) < _APART
        distances[own] = np.inf
        candidates = np.argpartition(distances, most - 1, axis=1)[:, :most]
        for number, (line, among) in enumerate(zip(distances, candidates, strict=True)):
            ordered = among[np.argsort(line[among], kind="stable")]
            chosen = _one_of_each_passage(ordered[np.isfinite(line[ordered])], rows, episodes)
            found[begin + number, : len(chosen)] = chosen
            if chosen:
                nearest[begin + number] = np.sqrt(max(line[chosen[0]], 0.0) / max(observations.shape[1], 1))
    return found, nearest


def _one_of_each_passage(ordered: Int64, rows: Int64, episodes: Int64) -> list[int]:
    """Return the first k of `ordered` of which no two lie within a few steps of one episode."""
    chosen: list[int] = []
    for each in ordered:
        if all(episodes[each] != episodes[one] or abs(rows[each] - rows[one]) >= _APART for one in chosen):
            chosen.append(int(each))
            if len(chosen) == _NEIGHBOURS:
                break
    return chosen


def _spread_ahead(dataset: TrajectoryDataset, pairs: tuple[Int64, Int64]) -> tuple[float, ...]:
    """Return `Foresight.spread` of pairs of rows; steps behind an episode's end are left out."""
    scaled = _scale_actions(dataset.actions, dataset.actions)
    random = 2.0 * scaled.var(axis=0).sum()  # mean square of the difference of two at random
    ends = [dataset.episode_offsets[np.searchsorted(dataset.episode_offsets, rows, side="right")] for rows in pairs]
    spread = []
    for step in range(LOOKAHEAD):
        within = (pairs[0] + step < ends[0]) & (pairs[1] + step < ends[1])
        differences = scaled[pairs[0][within] + step] - scaled[pairs[1][within] + step]
        square = (differences**2).sum(axis=1).mean() if within.any() else random
        spread.append(float(np.sqrt(square / random)))
    return tuple(spread)


def _find_groups(
    observations: Float64, chunks: Float64, neighbours: Int64
) -> tuple[NDArray[np.bool_], Float64, Float64]:
    """Say of which states the neighbours' chunks fall into two groups, along their first principal component.

    Args:
        observations: [M, D] standardised.
        chunks: [M, H * A] scaled.
        neighbours: [Q, k] positions among the M, -1 where there are fewer.

    Returns:
        whether there are two groups [Q]; how often a neighbour and the one nearest to it are of one group [Q], and
        how often by chance [Q], both 0 where there are no groups.
    """
    groups = np.zeros(len(neighbours), np.bool_)
    told, chance = np.zeros(len(neighbours)), np.zeros(len(neighbours))
    visible = _VISIBLE * np.sqrt(2.0 * chunks.var(axis=0).sum())
    for query, line in enumerate(neighbours):
        around = line[line >= 0]
        if len(around) < 2 * _SIDE + 2:
            continue
        centred = chunks[around] - chunks[around].mean(axis=0)
        along = centred @ np.linalg.svd(centred, full_matrices=False)[2][0]
        ordered = np.sort(along)
        gaps = np.diff(ordered)[_SIDE - 1 : 1 - _SIDE]
        widest = int(np.argmax(gaps))
        if gaps[widest] < max(_GAP * (ordered[-1] - ordered[0]), visible):
            continue
        groups[query] = True
        upper = along > ordered[widest + _SIDE - 1]
        distances = ((observations[around][:, None] - observations[around]) ** 2).sum(axis=2)
        np.fill_diagonal(distances, np.inf)
        told[query] = (upper[distances.argmin(axis=1)] == upper).mean()
        number, high = len(upper), int(upper.sum())
        low = number - high
        chance[query] = (high * (high - 1) + low * (low - 1)) / (number * (number - 1))
    return groups, told, chance
