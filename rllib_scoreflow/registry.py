"""Named choices that the package and a user's own modules add to: networks, estimators, readers."""

from collections.abc import Callable, Iterator, Mapping
from typing import TypeVar

from rllib_scoreflow.errors import InputError, shorten
from rllib_scoreflow.suggest import hint

Entry = TypeVar("Entry")


class Registry(Mapping[str, Entry]):
    """Entries by the name that a configuration uses.

    A registry is filled by importing modules, so it is the same in every process that has imported the same ones:
    those of a user are named by the option `plugins`.

    Args:
        what: what an entry is, for messages: "velocity field".
        option: the option that chooses one, for messages: "velocity.type".
    """

    def __init__(self, what: str, option: str) -> None:
        self.what = what
        self.option = option
        self._entries: dict[str, Entry] = {}

    def register(self, name: str) -> Callable[[Entry], Entry]:
        """A decorator that adds an entry under `name`.

        Raises:
            ValueError: another entry has the name already; the same one again, as when a module is reloaded, passes.
        """

        def add(entry: Entry) -> Entry:
            present = self._entries.get(name)
            if present is not None and _identity(present) != _identity(entry):
                raise ValueError(f"there is a {self.what} named {name!r} already, {present!r}; choose another name")
            self._entries[name] = entry
            return entry

        return add

    def choose(self, name: object) -> Entry:
        """The entry of that name.

        Raises:
            InputError: there is none; it names the nearest, and the option by which a module of the user is imported.
        """
        if not isinstance(name, str) or name not in self._entries:
            raise InputError(
                f"Option '{self.option}' is {shorten(name)!r}, which is no {self.what} known here (a module that "
                "registers one is named by `plugins`, in the command --plugins MODULE); "
                f"{hint(str(name), self._entries, 'known ones')}"
            )
        return self._entries[name]

    def __getitem__(self, name: str) -> Entry:
        return self._entries[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._entries)

    def __len__(self) -> int:
        return len(self._entries)


def _identity(entry: object) -> tuple[object, object]:
    return getattr(entry, "__module__", None), getattr(entry, "__qualname__", entry)
