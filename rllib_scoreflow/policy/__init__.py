"""Policies that are loaded, saved and asked for actions without Ray."""

from rllib_scoreflow.files.policy_folder import find_policy
from rllib_scoreflow.policy.flow_policy import FlowPolicy
from rllib_scoreflow.policy.metadata import (
    PolicyConfig,
    PolicyDescription,
    PolicyMetadata,
    read_metadata,
)

__all__ = [
    "FlowPolicy",
    "PolicyConfig",
    "PolicyDescription",
    "PolicyMetadata",
    "find_policy",
    "read_metadata",
]
