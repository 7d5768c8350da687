"""The one time grid of the denoising chain."""

import torch


def time_grid(denoising_steps: int, device: torch.device | None = None) -> torch.Tensor:
    """Returns `t_k = k / K` for `k = 0..K-1`, float32 of shape `[K]`.

    `t = 1` is not on the grid: the score diverges there. Sampling and log-probability both use this grid; two
    different ones make the first probability ratio differ from 1 (arXiv 2505.22094's code did).
    """
    return torch.arange(denoising_steps, dtype=torch.float32, device=device) / denoising_steps
