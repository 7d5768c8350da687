"""Keys of an experiment beside ``config:``, as the command and Tune had them."""

from rllib_scoreflow.experiments.renames.table import Removed, Renamed, Table

# A key may stand in the experiment itself or in `checkpoint_config`.
CHECKPOINT_KEYS: Table = {
    "checkpoint_freq": Renamed("checkpoint_frequency"),
    "checkpoint_at_end": Renamed("checkpoint_at_end"),
    "keep_checkpoints_num": Renamed("num_to_keep"),
    "checkpoint_score_attr": Renamed("checkpoint_score_attribute"),
}
EXPERIMENT_KEYS: Table = {
    "local_dir": Removed("use the option --results-dir instead"),
    "storage_path": Removed("use the option --results-dir instead"),
    "upload_dir": Removed("use the option --results-dir instead"),
    "resources_per_trial": Removed("set num_learners, num_env_runners and so on in config instead"),
}
