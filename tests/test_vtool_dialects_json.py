"""Strict JSON out of model text."""

import json
import time
from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vtool.dialects import jsontext
from vtool.dialects.jsontext import read_json, write_json
from vtool.errors import ModelFault

VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(10**20), 10**20)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner),
    max_leaves=12,
)


@given(VALUES)
def test_what_is_written_is_read_back(value):
    assert read_json(write_json(value)) == value


@given(VALUES)
def test_no_closing_tag_can_be_spelt(value):
    assert "</" not in write_json(value)


@given(st.text(max_size=200))
def test_reading_is_total(text):
    with suppress(ModelFault):
        assert read_json(text) == json.loads(text)


@pytest.mark.parametrize(
    ("text", "code"),
    [
        ('{"a": 1', "bad_json"),
        ("", "bad_json"),
        ("{'a': 1}", "bad_json"),
        ("{True: None}", "bad_json"),
        ('{"a": None}', "bad_json"),
        ('{"a": 1,}', "bad_json"),
        ('{"a": 1} {"a": 1}', "bad_json"),
        ('{"a": NaN}', "bad_json"),
        ('{"a": -Infinity}', "bad_json"),
        ('{"a": 1e999}', "bad_json"),
        ('{"a": ' + "9" * 10_000 + "}", "bad_json"),
        ('{"a": 1, "a": 1}', "bad_json"),
        ('{"a": {"b": 1, "b": 2}}', "bad_json"),
        ('{"a": １２}', "bad_json"),
        ('{"a": "line\nbreak"}', "bad_json"),
        ("[" * 3000 + "]" * 3000, "too_large"),
        ('{"a":' * 40 + "1" + "}" * 40, "too_large"),
        ('"' + "x" * 10_000_000 + '"', "too_large"),
    ],
)
def test_refusals(text, code):
    with pytest.raises(ModelFault) as refused:
        read_json(text)
    assert refused.value.code == code


def test_brackets_in_strings_nest_nothing():
    value = {"a": "[" * 500 + '"' + "{" * 500, "b": ["\\"]}
    assert read_json(json.dumps(value)) == value


def test_the_position_is_told():
    with pytest.raises(ModelFault, match="at character 9"):
        read_json('{"a": 1, b: 2}')


@pytest.mark.parametrize("text", ['"' * 60_001, '"\\"' * 20_000, "[" * 60_000, '\\"' * 30_000])
def test_the_depth_check_takes_linear_time(text):
    start = time.perf_counter()
    with suppress(ModelFault):
        jsontext.check_depth(text)
    assert time.perf_counter() - start < 0.5


def test_lone_surrogates_are_parsed_as_they_are():
    assert read_json('{"a": "\\ud800"}') == {"a": "\ud800"}
