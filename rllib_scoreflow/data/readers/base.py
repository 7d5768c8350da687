"""What a reader of a dataset layout is; every one is a class in a module of its own and a line in `READERS`."""

import os
from collections.abc import Iterator
from pathlib import Path
from typing import ClassVar

from rllib_scoreflow.data.options import ReadOptions
from rllib_scoreflow.data.schema import RawColumns
from rllib_scoreflow.errors import InputError
from rllib_scoreflow.registry import Registry


class Reader:
    """A layout of datasets: how one is recognised, what it consists of, and how it is read.

    Attributes:
        what: the layout's name in messages, such as "a file of D4RL's layout".
        suffixes: endings of its files, with the dot; none for folders.
        prefix: what its ids begin with, such as "minari:"; empty if it has none.
        options: fields of `ReadOptions` that it has a use for.
    """

    what: ClassVar[str]
    suffixes: ClassVar[tuple[str, ...]] = ()
    prefix: ClassVar[str] = ""
    options: ClassVar[frozenset[str]] = frozenset()

    def claims(self, path: Path) -> bool:
        """Whether this is the reader of an existing file or folder; by default, of its endings.

        Raises:
            InputError: the file cannot be opened.
        """
        return path.suffix in self.suffixes

    def locate(self, dataset: str) -> Path:
        """The file or folder of an id without its prefix, downloaded if need be.

        Raises:
            InputError: there is no such dataset, or the download fails.
        """
        raise NotImplementedError

    def files(self, path: Path) -> list[Path]:
        """All files that the dataset is read from: they are hashed, and name the cached conversion."""
        return [path]

    def name(self, path: Path) -> str:
        """What a dataset that is given by its path is called."""
        return path.stem

    def origin(self, path: Path) -> str:
        """What the dataset's info calls its file or folder."""
        return path.parent.name if path.is_dir() else path.name

    def name_file(self, path: Path, file: Path) -> str:
        """What one of `files` is called where they are hashed."""
        return os.path.relpath(file, path.parent)

    def read(self, path: Path, options: ReadOptions) -> RawColumns:
        """Read the dataset.

        Raises:
            InputError: it is damaged, incomplete, or not of this layout.
        """
        raise NotImplementedError


READERS: Registry[type[Reader]] = Registry("reader", "dataset")
"""Readers by the name of their layout. The last one registered is asked first, so that a user's own precedes ours."""


def readers() -> Iterator[Reader]:
    """All readers, in the order in which they are asked."""
    for reader in reversed(list(READERS.values())):
        yield reader()


def reader_of(path: Path) -> Reader:
    """The reader of a file or folder.

    Raises:
        InputError: none claims it.
    """
    for reader in readers():
        if reader.claims(path):
            return reader
    raise InputError(f"{path}: no reader knows this layout; give {' or '.join(r.what for r in readers())}")


def known_suffixes() -> tuple[str, ...]:
    """Endings of the files of all readers."""
    return tuple(dict.fromkeys(suffix for cls in READERS.values() for suffix in cls.suffixes))
