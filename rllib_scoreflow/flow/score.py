"""The closed-form score of a linear-path flow."""

import torch


def closed_form_score(
    velocity: torch.Tensor, x: torch.Tensor, t: torch.Tensor, clip: float | None = None
) -> tuple[torch.Tensor, torch.Tensor]:
    """Score `grad_x log p_t(x | o) = (t v - x) / (1 - t)` of the linear path from a standard normal.

    Exact when `velocity` is the marginal velocity (arXiv 2604.10962, section 4; method: `E[z|x] = x - t v`).

    Args:
        velocity: `v(x, t, o)`, shape `[B, D]`.
        x: Points on the path, shape `[B, D]`.
        t: Times in `[0, 1)`, shape `[B, 1]`.
        clip: Bound on every component; `None` leaves the score as it is.

    Returns:
        The score `[B, D]`, and the share of components that the bound changed (a scalar tensor, no gradient).
    """
    score = (t * velocity - x) / (1.0 - t)
    if clip is None:
        return score, torch.zeros((), device=x.device)
    clip_rate = (score.detach().abs() > clip).float().mean()
    return score.clamp(-clip, clip), clip_rate
