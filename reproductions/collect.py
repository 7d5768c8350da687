"""The folders of finished runs as one tidy table: a row for every iteration of every run."""

import json
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from reproductions.experiments import CLONE, Run, file_name

ATTRIBUTION_ROWS = "abcdefg"
KEYS = ("stage", "task", "method", "cell", "seed")
"""The columns that name a run."""
_POINT = [*KEYS, "iteration"]
_CURVE = {
    "env_steps": "env_steps", "return_mean": "return_mean", "return_stderr": "return_stderr",
    "eval_return_mean": "eval_return_mean", "eval_return_stderr": "eval_return_stderr", "time_total_s": "seconds",
    "rollout_seconds": "rollout_seconds", "update_seconds": "update_seconds", "kl_chain": "kl_chain",
    "clip_fraction": "clip_fraction", "explained_variance": "explained_variance", "sigma_mean": "sigma_mean",
    "moved/alpha": "moved_alpha", "moved/sigma": "moved_sigma", "alpha/step_0": "alpha_step_0",
}  # fmt: skip
_DIGITS = 7  # of a float; the tables show five


def collect_run(results: Path, run: Run, commit: str) -> pd.DataFrame:
    """The rows of one finished run; empty where it is not finished.

    Args:
        results: folder of the study's runs.
        run: the run.
        commit: of the code that it ran with.
    """
    folder = results / file_name(run.task, run.seed) / run.experiment
    done = folder / "done.json"
    if not done.is_file():
        return pd.DataFrame()
    lines = (folder / "trial_00000" / "result.json").read_text(encoding="utf-8").splitlines()
    frame = pd.DataFrame([_point(json.loads(line), run) for line in lines])
    constants = _constants(folder, _read_json(done), commit)
    constants |= _clone_evaluation(folder.parent / CLONE.format(run.clone))
    constants |= _attribution(folder / "attribution.json")
    return frame.drop_duplicates(_POINT, keep="last").assign(**constants)


def _point(result: dict[str, Any], run: Run) -> dict[str, Any]:
    point: dict[str, Any] = {
        "stage": run.stage, "task": run.task, "method": run.method, "cell": run.cell, "seed": run.seed,
        "iteration": result["training_iteration"],
    }  # fmt: skip
    point |= {name: result.get(key) for key, name in _CURVE.items()}
    metrics = (result.get("evaluation") or {}).get("metrics") or {}
    point |= {f"eval_{name}": value for name, value in metrics.items()}
    point["eval_success_rate"] = result.get("eval_success_rate")
    point["success_rate"] = result.get("success_rate")
    return point


def _constants(folder: Path, done: dict[str, Any], commit: str) -> dict[str, Any]:
    versions = done.get("versions") or {}
    return {
        "commit": commit,
        "dataset_sha256": done.get("dataset_sha256"),
        "policy_sha256": _read_json(folder / "policy" / "policy.json")["weights_sha256"],
        "clone_sha256": _read_json(folder / "experiment.json")["pretrained_policy_sha256"],
        "versions": " ".join(f"{name} {version}" for name, version in sorted(versions.items())),
    }


def _clone_evaluation(folder: Path) -> dict[str, Any]:
    return {"clone_return": _read_json(folder / "done.json")["figures"].get("evaluation")}


def _attribution(path: Path) -> dict[str, Any]:
    """The mean and standard error of every row of the attribution; nothing where there is none."""
    if not path.is_file():
        return {}
    table = _read_json(path)
    values: dict[str, Any] = {"attribution_seed": table["seed"], "attribution_episodes": table["episodes"]}
    for row in table["rows"]:
        name = f"row_{row['row']}"
        values |= {name: row["return_mean"], f"{name}_stderr": row["return_stderr"]}
        values[f"{name}_success"] = row["success_rate"]
        values |= {f"{name}_{key}": value for key, value in row["metrics"].items()}
    return values


def write_results(frames: list[pd.DataFrame], path: Path) -> pd.DataFrame:
    """Joins frames with what a file holds already (new rows win) and replaces the file as a whole.

    Returns:
        The table as the file holds it.
    """
    held = [read_results(path)] if path.is_file() else []
    filled = [frame.dropna(axis="columns", how="all") for frame in [*held, *frames] if not frame.empty]
    if not filled:
        return pd.DataFrame()
    table = pd.concat(filled, ignore_index=True).drop_duplicates(_POINT, keep="last")
    table = table.sort_values(_POINT, ignore_index=True)
    floats = table.select_dtypes("float").columns
    table[floats] = table[floats].map(lambda value: float(f"{value:.{_DIGITS}g}"))
    path.parent.mkdir(parents=True, exist_ok=True)
    beside = path.with_suffix(".tmp")
    pq.write_table(pa.Table.from_pandas(table, preserve_index=False), beside, compression="zstd")
    beside.replace(path)
    return table


def read_results(path: Path) -> pd.DataFrame:
    """The table of a study's results."""
    return pq.read_table(path).to_pandas()


def _read_json(path: Path) -> dict[str, Any]:
    content: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    return content
