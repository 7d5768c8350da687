"""Columns of the Parquet files of a LeRobotDataset as arrays."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from numpy.typing import NDArray

from rllib_scoreflow.data.validation import check_expansion, first_sentence
from rllib_scoreflow.errors import InputError, shorten

INFO = "meta/info.json"
AGAIN = "fetch or write the dataset again"
_LISTS = (pa.types.is_list, pa.types.is_large_list, pa.types.is_fixed_size_list)


def read_columns(path: Path, names: Sequence[str], rows: int | None = None) -> pa.Table:
    """Read columns of a Parquet file.

    Args:
        path: the file.
        names: its columns, all of which it must have.
        rows: how many rows it must have, where that is known.

    Raises:
        InputError: it is missing, damaged, or has others.
    """
    if not path.is_file():
        raise InputError(f"{path}: no such file; {AGAIN}")
    try:
        with pq.ParquetFile(path) as file:
            held = file.schema_arrow.names
            missing = [name for name in names if name not in held]
            if missing:
                raise InputError(f"{path}: column '{shorten(missing[0])}' is missing, it has {shorten(held)}; {AGAIN}")
            if rows is not None and file.metadata.num_rows != rows:
                raise InputError(
                    f"{path}: has {file.metadata.num_rows} rows, and the table of episodes says {rows}; {AGAIN}"
                )
            check_expansion(path, _bytes_of(file.metadata, names), AGAIN)
            return file.read(list(names))
    except InputError:
        raise
    # On damaged bytes pyarrow raises more than its own exceptions.
    except Exception as error:
        raise InputError(
            f"{path}: not a readable Parquet file ({shorten(first_sentence(error), 120)}); {AGAIN}"
        ) from error


def _bytes_of(footer: pq.FileMetaData, names: Sequence[str]) -> int:
    """Bytes of the numbers of columns in memory, at most eight each."""
    total = 0
    for group in map(footer.row_group, range(footer.num_row_groups)):
        for chunk in map(group.column, range(group.num_columns)):
            total += 8 * chunk.num_values * any(chunk.path_in_schema.split(".list.")[0] == name for name in names)
    return total


def column_of(path: Path, table: pa.Table, name: str, dtype: Any, width: int | None = None) -> NDArray[Any]:
    """Return a column as an array.

    Args:
        path: of the table's file, for the message.
        table: holds the column.
        name: of the column.
        dtype: what its values become; None: as they are.
        width: D, for a column of D numbers a row (or of plain numbers for 1).

    Returns:
        [N], or with a width [N, D].

    Raises:
        InputError: values of another kind, missing ones, or rows of another length.
    """
    column = table.column(name).combine_chunks()
    try:
        if any(is_list(column.type) for is_list in _LISTS):
            lengths = pc.unique(pc.list_value_length(column)).to_pylist()
            if width is None or lengths not in ([], [width]):
                raise ValueError(f"rows of {shorten(lengths, 60)} values in place of {width or 1}")
            column = column.flatten()
        values = np.asarray(column.to_numpy(zero_copy_only=False))
        if values.dtype.kind not in "biuf" or (column.null_count and np.dtype(dtype).kind != "f"):
            raise ValueError("values are missing" if column.null_count else f"it holds {column.type}")
        with np.errstate(over="ignore", invalid="ignore"):  # what becomes infinite is refused by the validation
            values = values.astype(values.dtype if dtype is None else dtype)
        return values.reshape(len(table) if width is None else (len(table), width))
    except (ValueError, TypeError, pa.ArrowException) as error:
        raise InputError(
            f"{path}: column '{shorten(name)}' is not what '{INFO}' says ({shorten(first_sentence(error), 100)}); "
            f"{AGAIN}"
        ) from error
