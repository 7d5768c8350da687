"""The closed-form score of a path from a standard normal."""

import torch


def closed_form_score(
    noise: torch.Tensor, b: torch.Tensor, clip: float | None = None
) -> tuple[torch.Tensor, torch.Tensor]:
    """Score `grad_x log p_t(x | o) = -E[N | x_t, o] / b(t)`; on the linear path it is `(t v - x) / (1 - t)`.

    Exact when `noise` is the conditional expectation (arXiv 2604.10962, section 4).

    Args:
        noise: Estimate `N^` of the noise, `[B, D]`.
        b: Share of the noise, above 0, `[B, 1]`.
        clip: Bound on every component; `None` leaves the score as it is.

    Returns:
        The score `[B, D]`, and the share of components that the bound changed (a scalar tensor, no gradient).
    """
    score = -noise / b
    if clip is None:
        return score, torch.zeros((), device=noise.device)
    clip_rate = (score.detach().abs() > clip).float().mean()
    return score.clamp(-clip, clip), clip_rate
