"""What of the serving example needs no server: how much of a request is read."""

import asyncio
import runpy
from pathlib import Path

import pytest
from starlette.requests import Request

EXAMPLE = Path(__file__).parents[1] / "examples" / "serve_policy.py"


@pytest.fixture(scope="module")
def read_body():
    return runpy.run_path(str(EXAMPLE))["read_body"]


def request(parts, length=None):
    """A request as it comes over the wire, and the list of the parts that nobody has read yet."""
    left = list(parts)

    async def receive():
        return {"type": "http.request", "body": left.pop(0), "more_body": bool(left)}

    headers = [] if length is None else [(b"content-length", str(length).encode())]
    return Request({"type": "http", "method": "POST", "headers": headers}, receive), left


@pytest.mark.parametrize(
    ("parts", "length", "read", "left"),
    [
        ([b"12345", b"67890"], 10, b"1234567890", 0),
        ([b"12345", b"67890"], None, b"1234567890", 0),
        ([b"1" * 11], 11, None, 1),
        ([b"1" * 6] * 5, None, None, 3),
        ([b"1" * 6] * 5, 3, None, 3),
        ([b"123"], "9" * 5000, None, 1),
        ([b"123"], "many", b"123", 0),
    ],
)
def test_a_body_is_read_up_to_its_limit_and_no_further(read_body, parts, length, read, left):
    asked, unread = request(parts, length)
    assert asyncio.run(read_body(asked, 10)) == read
    assert len(unread) == left
