"""`python -m reproductions`: run and analyse studies."""

import sys
from pathlib import Path
from typing import Annotated

import typer

from reproductions.study import DATA, RESULTS, StudyError, load_study

app = typer.Typer(no_args_is_help=True, add_completion=False, help="Run and analyse studies.")
_Name = Annotated[str, typer.Argument(metavar="STUDY", help="A study of reproductions/studies, or the path of a file.")]
_DEFAULT_RUNS = Path("results/reproductions")


@app.command()
def run(  # noqa: PLR0917 - the options of a command are never positional
    name: _Name,
    runs: Annotated[Path, typer.Option(help="Folder of the runs; all that is finished there is kept.")] = _DEFAULT_RUNS,
    results: Annotated[Path, typer.Option(help="Folder of the tables.")] = RESULTS,
    data: Annotated[Path, typer.Option(help="Folder of the files that a study's tasks name.")] = DATA,
    jobs: Annotated[int, typer.Option(min=1, help="Experiment files that run at once.")] = 1,
    ray_address: Annotated[str | None, typer.Option(help="A running Ray cluster; by default one of its own.")] = None,
) -> None:
    """Run what is missing of a study, and write its results as a table."""
    from reproductions.run import StudyRunner

    study = load_study(name)
    stem = Path(name).stem
    table = results / f"{stem}.parquet"
    StudyRunner(study, runs / stem, table, data=data, jobs=jobs, ray_address=ray_address).run()
    typer.echo(f"results: {table}; next: python -m reproductions analyse {name}")


@app.command()
def analyse(
    name: _Name,
    results: Annotated[Path, typer.Option(help="Folder of the tables.")] = RESULTS,
    figures: Annotated[bool, typer.Option(help="Also draw the figures.")] = True,
) -> None:
    """Write a study's tables and figures from its results alone, without training."""
    from reproductions.analyse import TABLES, draw_figures, write_tables
    from reproductions.collect import read_results

    study = load_study(name)
    stem = Path(name).stem
    path = results / f"{stem}.parquet"
    if not path.is_file():
        raise StudyError(f"{path} is missing; run the study first: python -m reproductions run {name}")
    table = read_results(path)
    folder = results / stem
    folder.mkdir(parents=True, exist_ok=True)
    page = write_tables(study, table, stem)
    (folder / TABLES).write_text(page, encoding="utf-8")
    drawn = draw_figures(study, table, folder) if figures else []
    typer.echo(page)
    typer.echo(f"tables: {folder / TABLES}")
    for file in drawn:
        typer.echo(f"figure: {file}")


@app.command()
def page() -> None:
    """Put the tables of the studies into docs/results.md."""
    from reproductions.page import PAGE, fill_tables

    PAGE.write_text(fill_tables(PAGE.read_text(encoding="utf-8")), encoding="utf-8")
    typer.echo(f"page: {PAGE}")


def main() -> None:
    """The command; what is wrong with a study is one sentence and exit status 2."""
    try:
        app()
    except StudyError as error:
        typer.echo(f"error: {error}", err=True)
        sys.exit(2)


if __name__ == "__main__":
    main()
