import pytest

from rllib_scoreflow.cli.yaml_loader import parse_mapping, parse_yaml
from rllib_scoreflow.errors import InputError


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
