import contextlib
import os
import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rllib_scoreflow.errors import InputError
from rllib_scoreflow.experiments.yaml import parse_mapping, parse_yaml, read_text


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("5e-4", 5e-4),
        ("1e6", 1e6),
        ("-2E+3", -2e3),
        (".5e1", 5.0),
        ("1_000e3", 1e6),
        ("1.5e-3", 1.5e-3),
        ("12", 12),
        ("0.99", 0.99),
        ("e5", "e5"),
        ("1e", "1e"),
        ("5e-4x", "5e-4x"),
        ('"5e-4"', "5e-4"),
        ("true", True),
        ("null", None),
        ("[1, 2e1]", [1, 20.0]),
    ],
)
def test_values_have_the_types_that_users_expect(text, value):
    parsed = parse_yaml(text, "here")
    assert parsed == value
    assert type(parsed) is type(value)


def test_anchors_and_merges_work():
    parsed = parse_yaml("a: &x {k: 1, l: 2}\nb: {<<: *x, l: 3}", "here")
    assert parsed["b"] == {"k": 1, "l": 3}


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("a: 1\nb: 2\na: 3", ["line 3", "'a'", "twice", "line 1"]),
        ("c:\n  lr: 1\n  lr: 2", ["line 3", "'lr'"]),
        ("a: [1, 2", ["line 1"]),
        ("a: b: c", ["line 1"]),
        ("!!python/object/apply:os.system [echo]", ["tag"]),
        ("? [1]\n: 2", ["cannot be a key"]),
    ],
)
def test_bad_yaml_is_told_with_its_place(text, words):
    with pytest.raises(InputError) as caught:
        parse_yaml(text, "file.yaml")
    message = str(caught.value)
    assert message.startswith("file.yaml")
    assert "\n" not in message
    assert all(word in message for word in words), message


def test_mappings_of_options_are_json_or_yaml():
    assert parse_mapping('{"lr": 5e-4}', "--config") == {"lr": 5e-4}
    assert parse_mapping("lr: 1", "--config") == {"lr": 1}
    assert parse_mapping("", "--config") == {}
    with pytest.raises(InputError, match="--stop must be a mapping"):
        parse_mapping("[1]", "--stop")


def laughs(levels: int, width: int, form: str) -> str:
    lines = ["a0: &a0 {run: PPO}" if form == "<<" else "a0: &a0 [lol]"]
    for level in range(1, levels):
        names = ", ".join([f"*a{level - 1}"] * width)
        value = f"{{<<: [{names}]}}" if form == "<<" else f"[{names}]"
        lines.append(f"a{level}: &a{level} {value}")
    return "\n".join(lines)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (laughs(9, 9, "[]"), ["aliases", "more than 100000 values"]),
        (laughs(12, 8, "<<"), ["aliases", "more than 100000 values"]),
        ("a: &a [*a]", ["line 1", "part of itself"]),
        ("a: &a {b: {c: *a}}", ["part of itself"]),
        ("a: " + "[" * 60 + "]" * 60, ["nested too deeply"]),
        ("[" * 100_000, ["nested too deeply"]),
        ("{a: " * 20_000, ["nested too deeply"]),
        ('{"a\\ud83d": 1}', ["a key", "half a character"]),
        ('a: {b: ["\\udc00"]}', ["a.b", "half a character"]),
        ("\n".join(f"a{i}: &a{i} [*a{i - 1}]" if i else "a0: &a0 [1]" for i in range(3000)), ["nested too deeply"]),
        ("a: " + "x" * 300_000, ["characters"]),
        ("a: {stop: {training_iteration: .nan}}", ["a.stop.training_iteration", ".nan"]),
        ("a: [1, .NaN]", ["file.yaml: a", ".nan"]),
        ("a: 0x" + "f" * 100, ["file.yaml: a", "64 bits"]),
        ("a: 0x" + "f" * 100_000, ["file.yaml: a", "64 bits"]),
        ("a: " + "9" * 5000, ["digits"]),
        ("a: " + "59:" * 200 + "59", ["64 bits"]),
        ("? 0x" + "f" * 100 + "\n: 1", ["a key", "64 bits"]),
        ("a: *" + "b" * 5000, ["line 1", "undefined alias"]),
        ("a: !" + "b" * 5000 + " 1", ["line 1", "tag"]),
        ("b" * 900 + ": 1\n" + "b" * 900 + ": 2", ["line 2", "twice"]),
        ("a: 2001-99-99", ["not valid YAML"]),
        ("a: \x00", ["not valid YAML"]),
    ],
)
def test_hostile_yaml_is_one_short_sentence_at_once(text, words):
    started = time.process_time()
    with pytest.raises(InputError) as caught:
        parse_yaml(text, "file.yaml")
    message = str(caught.value)
    assert time.process_time() - started < 3.0
    assert message.startswith("file.yaml")
    assert "\n" not in message
    assert message.count("file.yaml") == 1
    assert len(message) < 400
    assert all(word in message for word in words), message


def test_a_few_aliases_are_fine():
    assert parse_yaml(laughs(4, 5, "[]"), "here")["a3"][0][0][0] == ["lol"]


@settings(max_examples=60, deadline=None)
@given(st.text(alphabet="abc:{}[],*&!<>?-#|\"' \n\t0123456789.xe_~", max_size=80))
def test_any_text_is_a_value_or_one_sentence(text):
    with contextlib.suppress(InputError):
        parse_yaml(text, "file.yaml")


def test_files_that_are_none_are_refused_and_not_waited_for(tmp_path):
    pipe = tmp_path / "pipe.yaml"
    os.mkfifo(pipe)
    with pytest.raises(InputError, match="no regular file"):
        read_text(pipe)
    large = tmp_path / "large.yaml"
    with large.open("wb") as file:
        file.truncate(10**10)
    with pytest.raises(InputError, match="more than 262144 bytes"):
        read_text(large)
