"""Spans of seconds, and box tracks, in answers: read in several forms, never guessed."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vtool.answer_spans import read_spans, write_span
from vtool.answer_tracks import read_track, write_track
from vtool.geometry import Box, Convention, Span, Units
from vtool.track import Track

ONE = [(3.2, 5.0)]

READ = {
    "from 3.2 to 5.0 seconds": ONE,
    "From 3.2 s until 5 secs.": ONE,
    "between 3.2 and 5.0 seconds": ONE,
    "3.2 to 5.0": ONE,
    "3.2-5.0s": ONE,
    "3.2s \N{EN DASH} 5.0s": ONE,
    "3.2 seconds \N{EM DASH} 5.0 seconds": ONE,
    "[3.2, 5.0]": ONE,
    "[[3.2, 5.0], [7, 8]]": [(3.2, 5.0), (7.0, 8.0)],
    "00:03.2 - 00:05.0": ONE,
    "0:03.2 to 0:05": ONE,
    "01:02:03 - 01:02:05.5": [(3723.0, 3725.5)],
    "<time>3.2-5.0</time>": ONE,
    "<time> 3.2 s to 5.0 s </time> and <time>[7, 8]</time>": [(3.2, 5.0), (7.0, 8.0)],
    "<TIME>00:03.2 - 00:05</TIME>": ONE,
    "1-2 s and 4-5 s": [(1.0, 2.0), (4.0, 5.0)],
    "from 2 to 3 seconds, between 5 and 6 seconds": [(2.0, 3.0), (5.0, 6.0)],
}


@pytest.mark.parametrize("text", READ)
def test_published_forms_are_read(text):
    reading = read_spans(text)
    assert reading.spans == tuple(Span(*s) for s in READ[text])
    assert (reading.reason, reading.words.strip(" .[]")) == (
        "",
        "" if "and <" not in text else "and",
    )


REFUSED = {
    "": "no span",
    "3.2 5.0": "no span",
    "at 3.2 seconds": "no span",
    "from 3 to 5 birds": "no span",
    "two to three seconds": "no span",
    "start 3.2 s, end 5.0 s": "no span",
    "[1, 2, 3, 4]": "no span",
    "1.2.3 - 5 s": "no span",
    "1e3 - 5 s": "no span",
    "1,203 - 1205 s": "no span",
    "nan - inf s": "no span",
    "5.0-3.2s": "start < end",
    "3 - 3 s": "start < end",
    "00:70 - 01:80": "below 60",
    "-3 to 5 s": "hang on",
    "3.2 - 5.0 - 7.0 s": "hang on",
    "It is 3 to 5 seconds to 7 seconds": "hang on",
    "[3, 5] or 4-5 s": "2 ways",
    "1 min 3 s - 5 s": "unit other than seconds",
    "10 ms - 20 ms": "unit other than seconds",
    "frames 10 - 20 frames": "unit other than seconds",
    "<time>3": "not closed",
    "<time>3</time>": "no span in",
    "<time>3-4 cats</time>": "no span in",
    "x" * 1001: "more than 1000",
}


@pytest.mark.parametrize("text", REFUSED, ids=lambda t: t[:30])
def test_what_would_be_a_guess_is_refused_with_a_reason(text):
    reading = read_spans(text)
    assert reading.spans is None
    assert REFUSED[text] in reading.reason


def test_no_answer_is_no_span():
    assert read_spans(None).reason == "there is no answer"


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("red, from 3.2 to 5.0 seconds", "red"),
        ("red <time>3.2-5.0</time>", "red"),
        ("lower left: [3.2, 5.0]", "lower left"),
        ("3 birds, 3.2-5.0s", "3 birds"),
        ("from 3.2 to 5.0 seconds", ""),
    ],
)
def test_the_words_around_a_span_are_kept(text, words):
    reading = read_spans(text)
    assert reading.spans == (Span(3.2, 5.0),)
    assert reading.words == words


tenths = st.integers(0, 9_999).map(lambda v: v / 10)


@given(tenths, st.integers(1, 500), st.sampled_from(["", "red, ", "the dog: "]))
def test_what_is_written_is_read_back(start: float, length: int, before: str):
    span = Span(start, round(start + length / 10, 1))
    assert read_spans(before + write_span(span)).spans == (span,)
    for form in ("{}-{}s", "<time>{} to {}</time>", "[{}, {}]"):
        assert read_spans(before + form.format(span.start_s, span.end_s)).spans == (span,)


@given(st.text(alphabet="0123456789.,:-[]<>/ timesandfro", max_size=60))
def test_any_text_is_answered(text: str):
    reading = read_spans(text)
    assert (reading.spans is None) == bool(reading.reason)
    assert reading.spans is None or len(reading.spans) > 0


# ------------------------------------------------------------------------- tracks

TRACK = Track((1.0, 1.5), (Box(0.1, 0.2, 0.3, 0.4), Box(0.2, 0.2, 0.4, 0.4)))
SIZE = (640, 480)


@pytest.mark.parametrize(
    ("text", "units"),
    [
        ("1.0 s: [100, 200, 300, 400]\n1.5 s: [200, 200, 400, 400]", Units.THOUSAND),
        ("1: [0.1, 0.2, 0.3, 0.4],\n1.5: [0.2, 0.2, 0.4, 0.4]", Units.UNIT),
        ('[{"time": 1, "box": [64, 96, 192, 192]}, {"time": 1.5, "box": [128, 96, 256, 192]}]',
         Units.ORIGINAL),
    ],
)  # fmt: skip
def test_a_track_is_read_in_the_units_that_are_declared(text, units):
    assert read_track(text, Convention(units), original=SIZE).track == TRACK


def test_a_track_is_written_and_read_back():
    text = write_track(TRACK, Convention(), original=SIZE)
    assert read_track(text, Convention(), original=SIZE).track == TRACK


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (None, "no answer"),
        ("here it is", "expected lines"),
        ("1 s: [1, 2, 3]", "expected lines"),
        ("1 s: [300, 2, 3, 4]", "inverted"),
        ("2 s: [1, 2, 3, 4]\n1 s: [1, 2, 3, 4]", "rising"),
        ('[{"time": 1, "bbox": [1, 2, 3, 4]}]', "'time' and 'box'"),
        ('[{"time": true, "box": [1, 2, 3, 4]}]', "a number and a list"),
        ('[{"time": 1, "box": [1, 2, 3, 4]}', "delimiter"),
        ("1" * 20_001, "more than"),
    ],
)
def test_a_malformed_track_is_refused_with_a_reason(text, said):
    reading = read_track(text, Convention(), original=SIZE)
    assert reading.track is None
    assert said in reading.reason
