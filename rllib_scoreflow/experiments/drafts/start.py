"""Two choices that follow from the data alone: the length of a chunk, and whether a chain needs a random start."""

from rllib_scoreflow.data.analysis import Analysis
from rllib_scoreflow.experiments.drafts.facts import Choice, Chunk, percent

# Further than this, standard deviations per dimension, a neighbour says little of a state.
_NEAR = 0.5
_DECIDES, _GROUPS = 0.2, 0.1
_LOST = 0.15
_LENGTHS = (4, 2, 1)


def choose_chunk(analysis: Analysis) -> Chunk:
    """Choose how many steps are decided at once: as far as the observation foretells the actions about as well as now.

    Args:
        analysis: of the dataset.
    """
    spread, median = analysis.foresight.spread, analysis.lengths[1]
    shares = ", ".join(f"{100 * each:.0f}" for each in spread[: _LENGTHS[0]])
    seen = (
        f"Measured: actions after neighbouring observations differ by {shares} % (1st to {_LENGTHS[0]}th step) of what "
        "two at random differ by"
    )
    if not analysis.foresight.states:
        steps = min(_LENGTHS[0], max(1, median // 2))
        return Chunk(steps, "Too few episodes to compare; 4 steps are published for most tasks")
    for steps in _LENGTHS:
        if steps == 1 or (spread[steps - 1] - spread[0] <= _LOST and median >= 2 * steps):
            break
    if steps == _LENGTHS[0]:
        return Chunk(steps, f"{seen}: the observation foretells all of them. Published is 4 for most tasks")
    reason = f"at the {_ordinal(2 * steps)} step the observation foretells less than now, so chunks are short"
    if spread[2 * steps - 1] - spread[0] <= _LOST:
        reason = f"the median episode has {median} steps only, so chunks are short"
    return Chunk(steps, f"{seen}: {reason}. Published is 4 for most tasks")


def _ordinal(number: int) -> str:
    return {2: "2nd", 4: "4th"}[number]


def choose_start(analysis: Analysis) -> Choice:
    """Choose whether chains start at random (a policy that has to choose between modes) or at zero.

    Args:
        analysis: of the dataset.
    """
    modes, foresight = analysis.modes, analysis.foresight
    unexplained = modes.share * (1.0 - modes.explained)
    seen = (
        f"Measured of {foresight.states} states: after nearly the same observation the actions fall into two groups in "
        f"{percent(modes.share)}, of which the observation explains {percent(modes.explained)}; of the episodes' first "
        f"states in {percent(modes.start_share)}"
    )
    if foresight.states == 0 or foresight.distance > _NEAR:
        distance = f"{foresight.distance:.2f} standard deviations away" if foresight.states else "missing"
        return Choice(
            "chain",
            {"start": "normal"},
            f"The nearest other state is {distance}, too far to tell whether a state has several good actions: the "
            "random start stays, which can choose among them",
        )
    if modes.start_share >= _DECIDES or unexplained >= _GROUPS:
        return Choice(
            "chain", {"start": "normal"}, f"{seen}: the random start is needed to choose one, zero would mix them"
        )
    return Choice(
        "chain",
        {"start": "zero"},
        f"{seen}: there is little to choose, and from zero the policy acts by its mean. `normal` draws the start",
    )
