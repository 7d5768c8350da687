"""The one rule about action chunks that every layer relies on."""

from rllib_scoreflow.errors import InputError


def check_act_steps(act_steps: int, horizon: int) -> None:
    """Refuses to execute more steps of a chunk than it has.

    Args:
        act_steps: Steps of a chunk that are executed before the next one is predicted.
        horizon: Steps of a chunk.

    Raises:
        InputError: If `act_steps` is not between 1 and `horizon`.
    """
    if not 1 <= act_steps <= horizon:
        raise InputError(f"act_steps is {act_steps}: choose 1 to horizon, which is {horizon}")
