"""FlowBC: behaviour cloning of a flow policy from an offline dataset."""

from rllib_scoreflow.algorithms.flow_bc.flow_bc import FlowBC, FlowBCConfig

__all__ = ["FlowBC", "FlowBCConfig"]
