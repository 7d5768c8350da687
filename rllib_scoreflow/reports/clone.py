"""One line at the end of a cloning: how far the clone is from its data, and what to try where it is far below."""

from collections.abc import Mapping, Sequence
from typing import Any

from rllib_scoreflow.reports import metrics

DATA_RETURN = ("data_return_mean",)
# Far below: by more than a quarter of the data's mean and three standard errors, and not because the recorded
# demonstrations go on collecting rewards after the success with which the environment's episodes end.
_SHARE = 0.25
_ERRORS = 3.0
_SUCCESS = 0.8


def clone_against_data(rows: Sequence[Mapping[str, Any]]) -> str | None:
    """Return the line about a trial, or None where its results say nothing of a dataset.

    Args:
        rows: flattened results in order.
    """
    data = None if not rows else metrics.number(rows[-1], DATA_RETURN)
    if data is None:
        return None
    about = f"the mean return of its data is {data:,.2f}"
    row = next((row for row in reversed(rows) if metrics.number(row, metrics.EVAL_RETURN) is not None), None)
    if row is None:
        return f"the clone was never played, and {about}; set env and evaluation_interval to see how good it is"
    mean, error = metrics.number(row, metrics.EVAL_RETURN), metrics.number(row, metrics.EVAL_STDERR)
    assert mean is not None
    success = metrics.number(row, ("eval_success_rate",))
    text = f"the clone's return is {mean:,.2f}" + (f" ± {error:.2f}" if error is not None else "")
    text += f" (success rate {success:.2f})" if success is not None else ""
    if row is not rows[-1]:
        text += f" after iteration {row.get('training_iteration')}"
    text = f"{text}, {about}"
    lacking = data - mean
    if lacking <= max(_SHARE * abs(data), _ERRORS * (error or 0.0)) or (success or 0.0) >= _SUCCESS:
        return text
    steps = metrics.number(rows[-1], ("gradient_steps",))
    return f"{text}: far below, so {_advice(rows, steps)}"


def _advice(rows: Sequence[Mapping[str, Any]], steps: float | None) -> str:
    losses = [loss for row in rows if (loss := metrics.number(row, ("validation_loss",))) is not None]
    others = "other denoising_steps, or fewer act_steps"
    if losses and losses[-1] > 1.1 * min(losses):
        return f"end where the validation loss is lowest (early_stopping_patience), or try more data, {others}"
    longer = "" if steps is None else f" (stop: {{gradient_steps: {4 * steps:.0f}}} after these {steps:,.0f})"
    return f"train longer{longer}, or try a wider network (velocity.hidden_dim), {others}"
