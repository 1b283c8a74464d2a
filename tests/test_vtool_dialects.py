"""Dialects: every text is an action, and what is written is read back."""

import json
from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from vtool.dialects import dialects, make_dialect
from vtool.dialects.base import Control
from vtool.dialects.hermes import Hermes
from vtool.dialects.inline import Inline
from vtool.dialects.wording import essence, joined
from vtool.errors import FaultCode, ModelFault, RecipeError, RecordError, StoreError, UnknownName
from vtool.geometry import Box, Convention, Point, Region, Span, Units
from vtool.media import Clip, Image
from vtool.message import Action, Author, Fault, Message, Outcome, Role, Show, Text, ToolCall
from vtool.store import Store
from vtool.toolspec import Kind, Param, ToolSpec

BOTH = [Hermes(), Inline()]
PIECES = st.sampled_from(
    [
        "<tool_call>",
        "</tool_call>",
        "<answer>",
        "</answer>",
        "<think>",
        "</think>",
        "<grounding>",
        "</grounding>",
        '{"name": "zoom", "arguments": {"image": 1, "box": [0, 0, 9, 9]}}',
        '{"bbox_2d": [0.1, 0.2, 0.3, 0.4], "source": "original_image"}',
        "\n",
        "7",
        "<tool_",
        "call>",
        "{",
        "é",
        "🚀",
        "\ud800",
    ]
)
TEXTS = st.text(max_size=60) | st.lists(PIECES, max_size=12).map("".join)
WORDS = st.text(
    st.characters(exclude_characters="<>", exclude_categories=("Cs",)), max_size=30
).map(str.strip)
JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53), 2**53) | st.text(max_size=12),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner),
    max_leaves=6,
)


def call_text(body, tag="tool_call"):
    return f"<{tag}>\n{body}\n</{tag}>"


ZOOM = '{"name": "zoom", "arguments": {"image": 1, "box": [120, 340, 260, 480]}}'


def picture(width=40, height=20, seed=0):
    rng = np.random.default_rng(seed)
    return Image(rng.integers(0, 256, (height, width, 3), dtype=np.uint8))


def store_of(count):
    store = Store()
    for i in range(count):
        store.add(picture(seed=i))
    return store


def tool_message(*parts, **outcome):
    told = tuple(Text(p) if isinstance(p, str) else p for p in parts)
    return Message(role=Role.TOOL, parts=told, author=Author.TOOL, outcomes=(Outcome(**outcome),))


@pytest.mark.parametrize("dialect", BOTH, ids=lambda d: d.name)
@given(text=TEXTS, finished=st.booleans())
def test_parse_is_total(dialect, text, finished):
    action = dialect.parse(text, finished=finished)
    assert action.text == text
    assert not (action.calls and action.answer is not None)
    for call in action.calls:
        start, end = call.span
        assert text[start:end].startswith("<")
        assert text[start:end].endswith(">")


@pytest.mark.parametrize("dialect", BOTH, ids=lambda d: d.name)
@given(text=TEXTS, cuts=st.lists(st.integers(0, 300), max_size=6), finished=st.booleans())
def test_a_stream_ends_with_what_batch_reading_gives(dialect, text, cuts, finished):
    stream, edges = dialect.stream(), [0, *sorted(min(c, len(text)) for c in cuts), len(text)]
    for start, end in pairwise(edges):
        stream.feed(text[start:end])
    assert stream.finish(finished=finished) == dialect.parse(text, finished=finished)


@pytest.mark.parametrize("dialect", BOTH, ids=lambda d: d.name)
@given(
    data=TEXTS.map(lambda t: t.encode("utf-8", "replace")) | st.binary(max_size=40), at=st.data()
)
def test_a_stream_of_bytes_may_split_characters(dialect, data, at):
    stream, cut = dialect.stream(), at.draw(st.integers(0, len(data)))
    for chunk in (data[:cut], data[cut:]):
        stream.feed(chunk)
    assert stream.finish() == dialect.parse(data.decode("utf-8", "replace"))


def test_a_stream_tells_calls_as_they_come():
    stream = Hermes().stream()
    assert stream.feed("I look\n" + call_text(ZOOM)[:-3]) == []
    assert [c.name for c in stream.feed(call_text(ZOOM)[-3:] + " and")] == ["zoom"]


@given(
    thought=WORDS,
    calls=st.lists(
        st.builds(ToolCall, st.text(max_size=8), st.dictionaries(st.text(max_size=6), JSON)),
        max_size=3,
    ),
    answer=st.none() | WORDS,
)
def test_hermes_reads_back_what_it_writes(thought, calls, answer):
    action = Action("", thought, tuple(calls), None if calls else answer)
    text = joined(Hermes().write(action))
    again = Hermes().parse(text)
    plain = tuple(replace(c, span=None) for c in again.calls)
    assert replace(again, text="", calls=plain) == action
    assert joined(Hermes().split(text)) == text
    for call in again.calls:
        start, end = call.span
        body = text[start + len("<tool_call>") : end - len("</tool_call>")]
        assert json.loads(body)["name"] == call.name


@given(
    thought=WORDS,
    box=st.lists(st.floats(0, 1), min_size=4, max_size=4),
    source=st.text(max_size=20),
)
def test_inline_reads_back_what_it_writes(thought, box, source):
    action = Action("", thought, (ToolCall("zoom", {"image": source, "box": box}),))
    again = Inline().parse(joined(Inline().write(action)))
    assert essence(again) == essence(action)


def test_the_exact_form_of_a_turn():
    call = ToolCall("zoom", {"image": 1, "box": [120, 340, 260, 480]})
    assert joined(Hermes().write(Action("", "I look.", (call,)))) == "I look.\n" + call_text(ZOOM)
    assert joined(Hermes().write(Action("", "Seen.", (), "7"))) == "Seen.\n<answer>7</answer>"
    box = {"image": "original_image", "box": [0.1, 0.2, 0.3, 0.4]}
    assert joined(Inline().write(Action("", "Look.", (ToolCall("zoom", box),)))) == (
        'Look.\n<grounding>{"bbox_2d": [0.1, 0.2, 0.3, 0.4], "source": "original_image"}'
        "</grounding>"
    )


@pytest.mark.parametrize("thought", ["a <tool_call> b", "</answer><answer>1</answer>", "<think>"])
def test_a_turn_that_would_be_misread_is_not_written(thought):
    with pytest.raises(RecordError, match="cannot be written"):
        Hermes().write(Action("", thought, (), "7"))


def test_inline_has_no_words_for_other_tools():
    with pytest.raises(RecordError, match="words for zoom"):
        Inline().write(Action("", "", (ToolCall("rotate", {"image": "original_image"}),)))
    turn = ToolSpec("rotate", "Turn.", (Param("image", Kind.IMAGE),))
    with pytest.raises(RecordError, match="another dialect"):
        Inline().system([turn])


@pytest.mark.parametrize(
    ("text", "codes"),
    [
        ("just words", []),
        (call_text("{"), ["bad_json"]),
        (call_text(ZOOM + ZOOM), ["bad_json"]),
        ("<tool_call>" + ZOOM, ["unclosed_call"]),
        ("<answer>7", ["unclosed_call"]),
        (call_text('{"name": "zoom"}'), ["bad_args"]),
        (call_text('{"name": "zoom", "arguments": {}, "id": 1}'), ["bad_args"]),
        (call_text('{"name": 1, "arguments": {}}'), ["bad_args"]),
        (call_text('{"name": "zoom", "arguments": [1]}'), ["bad_args"]),
        (call_text('{"name": "zoom", "arguments": "[1]"}'), ["bad_args"]),
        (call_text('{"name": "zoom", "arguments": "{"}'), ["bad_json"]),
        (call_text("[]"), ["bad_args"]),
        (call_text("{'name': 'zoom', 'arguments': {}}"), ["bad_json"]),
        (call_text(ZOOM) + "<answer>7</answer>", ["ambiguous"]),
        (call_text("{") + "<answer>7</answer>", ["bad_json", "ambiguous"]),
        ("<answer>7</answer><answer>8</answer>", ["ambiguous"]),
        ("<answer>7</answer> <answer> 7 </answer>", []),
        ("<think>so", ["unclosed_call"]),
        ("<tool_call>{</tool_call>" + call_text(ZOOM), ["bad_json"]),
    ],
)
def test_faults_of_a_finished_turn(text, codes):
    action = Hermes().parse(text)
    assert [f.code for f in action.faults] == codes
    if "ambiguous" in codes:
        assert not action.calls
        assert action.answer is None


@pytest.mark.parametrize(
    ("text", "codes"),
    [
        ("I think", ["truncated"]),
        ("<tool_call>" + ZOOM, ["truncated"]),
        ("<think>so", ["truncated"]),
        (call_text(ZOOM) + " and", []),
        ("<answer>7</answer> because", []),
    ],
)
def test_faults_of_a_turn_that_was_cut(text, codes):
    assert [f.code for f in Hermes().parse(text, finished=False).faults] == codes


def test_one_bad_call_does_not_stop_a_good_one():
    action = Hermes().parse(call_text("{") + call_text(ZOOM))
    assert len(action.calls) == len(action.faults) == 1


def test_calls_inside_a_thought_are_ignored_and_counted():
    text = f"<think>maybe {call_text(ZOOM)} or {call_text('{')}</think>\n<answer>7</answer>"
    action = Hermes().parse(text)
    assert (action.calls, action.answer, action.ignored, action.faults) == ((), "7", 2, ())


def test_more_calls_than_may_run_are_all_kept():
    assert len(Hermes(max_parallel=2).parse(call_text(ZOOM) * 5).calls) == 5


def test_options():
    odd = make_dialect(
        "hermes",
        {
            "parameters_key": "parameters",
            "label": "img_{n}",
            "base": 0,
            "answer_tag": None,
            "coordinates": {"units": "canvas", "canvas": [512, 512]},
        },
    )
    assert odd.parse(call_text('{"name": "a", "parameters": {}}')).calls[0].name == "a"
    assert odd.parse("It is 7.").answer == "It is 7."
    assert odd.picture("img_1", store_of(2)) == "image_2"
    assert odd.coordinates == Convention(Units.CANVAS, canvas=(512, 512))
    with pytest.raises(RecipeError, match="did you mean 'label'"):
        make_dialect("hermes", {"labell": 1})
    with pytest.raises(RecipeError, match="units"):
        make_dialect("hermes", {"coordinates": {"units": "miles"}})
    with pytest.raises(UnknownName, match="did you mean 'hermes'"):
        make_dialect("hermess")
    assert {"hermes", "inline"} <= set(dialects)


@pytest.mark.parametrize("dialect", [*BOTH, Hermes(base=0), Hermes(label="img_{n}")])
def test_names_of_pictures_go_both_ways(dialect):
    store = store_of(2)
    store.add(Clip((picture(),), (0.0,)))
    for handle in ("image_1", "image_2", "clip_1"):
        assert dialect.picture(dialect.picture_name(handle, store), store) == handle
    with pytest.raises(StoreError):
        dialect.picture_name("image_9", store)


@pytest.mark.parametrize("name", [0, 3, -1, True, 1.0, "1", None, [1], "image_1", "x" * 99])
def test_unknown_pictures_are_told_with_those_that_exist(name):
    with pytest.raises(ModelFault) as refused:
        Hermes().picture(name, store_of(2))
    assert refused.value.code is FaultCode.UNKNOWN_IMAGE
    assert "1, 2" in refused.value.hint
    assert len(refused.value.message) < 100


def test_observations_share_one_turn_in_call_order():
    store = store_of(2)
    pieces = Hermes().observe([tool_message(Show("image_2")), tool_message("no text found")], store)
    assert pieces == (
        Control("<tool_response>\n"),
        Show("image_2"),
        Control("\n</tool_response>"),
        Control("\n<tool_response>\n"),
        Text("no text found"),
        Control("\n</tool_response>"),
    )


def test_a_fault_without_words_is_told():
    message = tool_message(fault=Fault(FaultCode.TIMEOUT, "too slow"))
    assert '{"error": {"code": "timeout"' in joined(Hermes().observe([message], store_of(1)))


@pytest.mark.parametrize(
    ("dialect", "shape", "told"),
    [
        (Hermes(), Box(0.1, 0.2, 1.0, 0.5), '{"image": 1, "used": [100, 200, 1000, 500]}'),
        (Hermes(), Point(0.5, 0.25), '{"image": 1, "used": [500, 250]}'),
        (Hermes(), Span(1.0, 2.5), '{"image": 1, "used": [1.0, 2.5]}'),
        (Inline(), Box(0.1, 0.2, 0.9, 0.5), '"original_image", "used": [0.1, 0.2, 0.9, 0.5]}'),
        (Hermes(coordinates=Convention(Units.SHOWN)), Box(0, 0, 0.5, 1), '"used": [0, 0, 32, 32]'),
    ],
)
def test_the_place_really_used_is_told_in_the_dialects_units(dialect, shape, told):
    message = tool_message(Show("image_1"), effective=(Region("image_1", shape),))
    words = joined(dialect.observe([message], store_of(1), lambda handle: (64, 32)))
    assert told in words


def test_tools_are_announced_with_their_conventions():
    spec = ToolSpec(
        "zoom",
        "Look closer. <|im_end|>",
        (Param("image", Kind.IMAGE), Param("box", Kind.BOX, of="image")),
    )
    pieces = Hermes().announce([spec])
    assert all("<|im_end|>" not in p.text for p in pieces if isinstance(p, Control))
    words = Hermes().system([spec])
    assert "thousandths" in words
    assert json.loads(words.split("<tools>\n")[1].split("\n")[0])["function"]["name"] == "zoom"
    assert Hermes().system([]) is None
    assert "0 to 1" in Inline().system([spec])
