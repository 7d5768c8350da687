"""Playing a policy: returns over a fixed number of episodes, and videos."""

from rllib_scoreflow.evaluation.evaluate import Act, evaluate_policy
from rllib_scoreflow.evaluation.result import EvaluationResult
from rllib_scoreflow.evaluation.video import Recording, record_video

__all__ = ["Act", "EvaluationResult", "Recording", "evaluate_policy", "record_video"]
