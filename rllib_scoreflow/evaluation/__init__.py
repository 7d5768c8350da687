"""Playing a policy: returns over a fixed number of episodes, how long it thinks, videos and contact sheets."""

from rllib_scoreflow.evaluation.contact_sheet import ContactSheet, draw_contact_sheet
from rllib_scoreflow.evaluation.evaluate import Act, evaluate_policy
from rllib_scoreflow.evaluation.latency import seconds_per_action
from rllib_scoreflow.evaluation.result import EvaluationResult, standard_error
from rllib_scoreflow.evaluation.target import check_target
from rllib_scoreflow.evaluation.video import Recording, record_video

__all__ = [
    "Act",
    "ContactSheet",
    "EvaluationResult",
    "Recording",
    "check_target",
    "draw_contact_sheet",
    "evaluate_policy",
    "record_video",
    "seconds_per_action",
    "standard_error",
]
