"""Keys of an experiment beside ``config:``, as the command and Tune had them."""

from rllib_scoreflow.experiments.renames.table import Entry, Removed, Renamed, Table

# A key may stand in the experiment itself or in `checkpoint_config`.
CHECKPOINT_KEYS: Table = {
    "checkpoint_freq": Renamed("checkpoint_frequency"),
    "checkpoint_at_end": Renamed("checkpoint_at_end"),
    "keep_checkpoints_num": Renamed("num_to_keep"),
    "checkpoint_score_attr": Renamed("checkpoint_score_attribute"),
}
_RESOURCES = "set num_learners, num_env_runners and so on in config instead"
_PLACE = "use the option --results-dir instead"
_COMMAND = "the command does so by itself, or has an option for it; see rllib train --help"


def _removed(reason: str, names: str) -> dict[str, Entry]:
    return dict.fromkeys(names.split(), Removed(reason))


EXPERIMENT_KEYS: Table = {
    **_removed(_PLACE, "local_dir storage_path upload_dir sync_config sync_function sync_to_driver sync_on_checkpoint"),
    **_removed(_RESOURCES, "resources_per_trial trial_resources resources"),
    **_removed(_COMMAND, "verbose resume log_to_file progress_reporter trial_name_creator trial_dirname_creator"),
    **_removed("give stop: {time_total_s: SECONDS} instead", "time_budget_s"),
    **_removed("give num_samples instead", "repeat"),
    **_removed(
        "failed trials are told at the end, and the others go on; give max_failures for more attempts",
        "fail_fast raise_on_failed_trial",
    ),
    **_removed("the policy is exported with `rllib policy export`", "export_formats"),
    **_removed("give checkpoint_config instead", "global_checkpoint_period checkpoint_period"),
    **_removed("trials wait for room anyway", "queue_trials reuse_actors"),
    **_removed("give grids and domains in config, and a scheduler", "search_alg searcher"),
    **_removed("stop says when a run ends", "pass_criteria"),
}
