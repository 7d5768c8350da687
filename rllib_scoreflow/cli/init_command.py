"""``rllib init``: its options. Imports are late, so that help and mistakes come fast."""

import re
import shlex
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from rllib_scoreflow.cli.dataset import Cameras, Dataset, FilterKey, ObservationKeys, read_options
from rllib_scoreflow.cli.train_arguments import Plugins
from rllib_scoreflow.errors import InputError
from rllib_scoreflow.files.user_paths import expand_user

if TYPE_CHECKING:
    from rllib_scoreflow.data import TrajectoryDataset
    from rllib_scoreflow.data.options import ReadOptions
    from rllib_scoreflow.experiments.drafts.draft import Draft

_IN_NAMES = "-_.+=@"  # besides letters and digits: a file's name is also that of its experiments


def init(
    dataset: Dataset,
    *,
    output: Annotated[
        Path | None,
        typer.Option("--output", "-o", help="The new .yaml file (default: named after the dataset).", metavar="FILE"),
    ] = None,
    env: Annotated[
        str | None,
        typer.Option(
            "--env", "-e", help="The environment, as for `rllib train` (default: as the data name it).", metavar="ID"
        ),
    ] = None,
    minutes: Annotated[
        float, typer.Option(help="How long training may take on this machine, both experiments.", min=2.0, metavar="N")
    ] = 15.0,
    filter_key: FilterKey = None,
    observation_keys: ObservationKeys = None,
    cameras: Cameras = None,
    plugins: Plugins = None,
) -> None:
    """Look at a dataset and write an experiment file for it, which runs as it is, with the reason of every choice."""
    from rllib_scoreflow.data.resolve import open_to_look
    from rllib_scoreflow.experiments.quiet import quieten
    from rllib_scoreflow.plugins import extend_module_path, import_plugins

    quieten(0)
    extend_module_path([Path.cwd()])
    import_plugins(plugins or ())
    options = read_options(filter_key, observation_keys, cameras)
    if output is not None:
        output = expand_user(output)
        _check_new(output)
    opened = open_to_look(dataset, options)
    if output is None:
        output = Path(file_name(opened.info.name))
        _check_new(output)
    draft = _draft(opened, dataset, options, output, env=env, minutes=minutes, plugins=plugins or ())
    try:
        with output.open("x", encoding="utf-8") as file:
            file.write(draft.text)
    except FileExistsError:
        _check_new(output)
    _say(draft, output)


def file_name(name: str) -> str:
    """Return the usual name of a dataset's file.

    Args:
        name: of the dataset, such as "minari:D4RL/door/human-v2".
    """
    from rllib_scoreflow.experiments.spec import as_name

    stem = as_name(re.sub(r"^\w+:", "", name), also=_IN_NAMES).strip("-_.") or "dataset"
    return f"{stem[:100]}.yaml"


def _draft(opened: "TrajectoryDataset", dataset: str, options: "ReadOptions", output: Path, **wanted: Any) -> "Draft":
    """Draft the file and check it as `rllib train` will; this takes some seconds, which a terminal shows."""
    from rllib_scoreflow.experiments.yaml import parse_yaml
    from rllib_scoreflow.terminal import new_console

    with new_console(stderr=True).status("looking at the data, the environment and this machine ..."):
        from rllib_scoreflow.experiments.drafts.draft import draft_file  # imports Ray
        from rllib_scoreflow.runs.plan import check_experiments

        command = shlex.join(["rllib", *sys.argv[1:]])
        draft = draft_file(opened, dataset, options, file=output, command=command, **wanted)
        check_experiments(parse_yaml(draft.text, str(output)), str(output), output.stem)
    return draft


def _check_new(output: Path) -> None:
    """Refuse a file that exists or cannot be written, before the dataset is looked at.

    Raises:
        InputError: see above.
    """
    from rllib_scoreflow.experiments.spec import as_name
    from rllib_scoreflow.files.atomic import find_obstacle

    if output.suffix not in {".yaml", ".yml"}:
        raise InputError(f"{output}: the output is an experiment file; give a name that ends in .yaml")
    if as_name(output.stem, also=_IN_NAMES) != output.stem:
        raise InputError(f"{output}: its experiments are named after it, so use letters, digits and {_IN_NAMES} only")
    if output.exists():
        raise InputError(f"{output} exists and is not overwritten; name another file with --output FILE")
    if not output.absolute().parent.is_dir():
        raise InputError(f"{output.absolute().parent}: no such folder; make it first")
    obstacle = find_obstacle(output)
    if obstacle is not None:
        raise InputError(f"{output} cannot be written ({obstacle}); name another file with --output FILE")


def _say(draft: "Draft", output: Path) -> None:
    facts, config = draft.facts, draft.stages[0].as_mapping()["config"]
    info = facts.info
    print(f"{output}: {' and '.join(stage.run for stage in draft.stages)}, {facts.minutes:g} minutes planned")
    print(
        f"data: {info.num_steps:,} steps in {info.num_episodes:,} episodes, {info.observation_dim} numbers observed, "
        f"{info.action_dim} acted by"
    )
    print(f"environment: {facts.found.env_id or 'none'} ({facts.found.reason})")
    print(f"chosen: chunks of {facts.chunk.steps}, {config['chain']['start']} start, {config['velocity']}")
    for note in info.notes:
        print(f"note: {note}")
    print(f"Read its comments, then:  rllib train file {shlex.quote(str(output))}")
