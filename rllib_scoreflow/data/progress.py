"""A progress bar on standard error, on a terminal only, gone when it is done."""

from types import TracebackType

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn


class Bar:
    """Shows how much of a long piece of work is done, as a context manager.

    Args:
        text: what is being done.
        total: how many units there are.
    """

    def __init__(self, text: str, total: int) -> None:
        console = Console(stderr=True)
        columns = (
            TextColumn("{task.description}", markup=False),
            BarColumn(),
            MofNCompleteColumn(),
            TimeRemainingColumn(),
        )
        self._progress = Progress(*columns, console=console, transient=True, disable=not console.is_terminal)
        self._task = self._progress.add_task(text, total=total)

    def advance(self, units: int = 1) -> None:
        """Count finished units."""
        self._progress.advance(self._task, units)

    def update(self, done: int, total: int) -> None:
        """Set how many units are done and how many there are."""
        self._progress.update(self._task, completed=done, total=total)

    def __enter__(self) -> "Bar":
        self._progress.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._progress.stop()
