"""Numbers of one run, from its learning curve: area under the curve and steps to a threshold."""

import numpy as np
import pandas as pd

from reproductions.collect import KEYS

RUN = list(KEYS)


def area_under_curve(steps: np.ndarray, returns: np.ndarray, limit: float | None = None) -> float:
    """Mean of the return over the environment steps, by the trapezoidal rule.

    Args:
        steps: increasing environment steps, [N].
        returns: return with exploration at each, [N]; not finite where no episode had ended.
        limit: steps beyond it do not count; None: all count.

    Returns:
        The mean in units of the return, over `steps[0]` to the limit.
    """
    known = np.isfinite(returns)
    steps, returns = steps[known], returns[known]
    end = steps[-1] if limit is None else min(limit, steps[-1])
    inside = steps < end
    grid = np.append(steps[inside], end)
    values = np.append(returns[inside], np.interp(end, steps, returns))
    if len(grid) == 1:
        return float(values[0])
    return float(np.trapezoid(values, grid) / (grid[-1] - grid[0]))


def steps_to_threshold(steps: np.ndarray, returns: np.ndarray, threshold: float) -> float:
    """Environment steps at which the return first reaches a threshold; infinite where it never does (censored)."""
    reached = np.flatnonzero(returns >= threshold)
    return float(steps[reached[0]]) if reached.size else float("inf")


def relative_rise(returns: np.ndarray, *, first: int = 3, last: int = 5) -> float:
    """How far the last returns of a curve lie above its first ones, as a share of these; a mean of some of each."""
    known = returns[np.isfinite(returns)]
    begin = float(known[:first].mean())
    return (float(known[-last:].mean()) - begin) / abs(begin)


def summarise_runs(table: pd.DataFrame, metric: str, limit: float | None = None) -> pd.DataFrame:
    """One row for each run: its area under the curve and the last points of its curves.

    Args:
        table: results, a row for every iteration.
        metric: the column that is compared.
        limit: see `area_under_curve`.
    """
    rows = []
    for _, run in table.groupby(RUN, sort=True):
        curve = run.sort_values("env_steps")
        steps, values = curve["env_steps"].to_numpy(float), curve[metric].to_numpy(float)
        evaluations = curve.get("eval_return_mean", pd.Series(dtype=float)).dropna()  # tuning makes none
        rows.append(
            run[RUN].iloc[0].to_dict()
            | {
                "auc": area_under_curve(steps, values, limit),
                "last": float(values[-1]),
                "rise": relative_rise(values),
                "evaluation": float(evaluations.iloc[-1]) if len(evaluations) else float("nan"),
                "env_steps": float(steps[-1]),
                "seconds": float(curve["seconds"].iloc[-1]),
            }
        )
    return pd.DataFrame(rows)
