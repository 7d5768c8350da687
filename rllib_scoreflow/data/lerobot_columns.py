"""Columns of a LeRobotDataset as Arrow and as `meta/info.json` describes them."""

import io
import json
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray


def tasks_table(tasks: Sequence[str]) -> pa.Table:
    """Return the tasks as pandas stores a data frame whose index they are, from where LeRobot takes them."""
    index = "__index_level_0__"
    columns = [
        {"name": name, "field_name": field_name, "pandas_type": kind, "numpy_type": dtype, "metadata": None}
        for name, field_name, kind, dtype in (
            ("task_index", "task_index", "int64", "int64"),
            (None, index, "unicode", "object"),
        )
    ]
    about = {"index_columns": [index], "column_indexes": [], "columns": columns, "pandas_version": "2.2.0"}
    table = pa.table({"task_index": list(range(len(tasks))), index: list(tasks)})
    return table.replace_schema_metadata({"pandas": json.dumps(about)})


def as_arrow(values: NDArray[Any]) -> pa.Array:
    """Return a column of plain numbers, [N] or [N, 1], or of D numbers a row, [N, D]."""
    if values.ndim == 1:
        return pa.array(values)
    flat = pa.array(np.ascontiguousarray(values).reshape(-1))
    # One number a row is a plain column there.
    return flat if values.shape[1] == 1 else pa.FixedSizeListArray.from_arrays(flat, values.shape[1])


def as_png(images: NDArray[np.uint8]) -> pa.Array:
    """Return images uint8 [N, H, W, 3] as a column of PNG files, without loss."""
    from PIL import Image

    rows: list[Mapping[str, Any]] = []
    for image in images:
        file = io.BytesIO()
        Image.fromarray(image).save(file, format="PNG", compress_level=6)
        rows.append({"bytes": file.getvalue(), "path": None})
    return pa.array(rows, pa.struct({"bytes": pa.binary(), "path": pa.string()}))


def describe_feature(values: NDArray[Any]) -> dict[str, Any]:
    """What `features` says of a column [N] or [N, D]: its type and its shape, [1] or [D]."""
    width = 1 if values.ndim == 1 else values.shape[1]
    names = None if values.ndim == 1 else [f"dim_{number}" for number in range(width)]
    return {"dtype": str(values.dtype), "shape": [width], "names": names}


def describe_video(height: int, width: int, fps: int) -> dict[str, Any]:
    """What `features` says of a camera's video."""
    return {
        "video.height": height,
        "video.width": width,
        "video.codec": "h264",
        "video.pix_fmt": "yuv420p",
        "video.is_depth_map": False,
        "video.fps": fps,
        "video.channels": 3,
        "has_audio": False,
    }
