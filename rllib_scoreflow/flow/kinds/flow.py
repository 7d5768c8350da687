"""The plain flow: an instantaneous velocity."""

from rllib_scoreflow.flow.kinds.base import KINDS, VelocityKind


@KINDS.register("flow")
class Flow(VelocityKind):
    """The instantaneous velocity `v(x, t, o)`, taught by conditional flow matching (arXiv 2210.02747)."""
