"""The token renderer: append-only contexts, exact masks, checked counts; no library needed."""

import dataclasses

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scripts import (
    ZOOM,
    answer_text,
    begin,
    completion,
    observation,
    picture,
    plain_renderer,
    question,
    reply,
    say,
    toy_episode,
    zoom_text,
)

from vtool.chat import ChatTemplate
from vtool.check_renderer import HOSTILE
from vtool.collapse import collapse, expand
from vtool.engines.base import Completion
from vtool.errors import FaultCode, RecordError
from vtool.families import family
from vtool.geometry import Box, Region
from vtool.media import Clip
from vtool.message import Action, Author, Message, Outcome, Role, Show, Text, ToolCall
from vtool.plain_codec import PlainCodec
from vtool.record import Context, Finish, Run, Sampling, Segment
from vtool.store import DepthMap, Store
from vtool.token_render import TokenRenderer

STYLES = ("hermes", "inline")
SIZES = st.tuples(st.integers(1, 150), st.integers(1, 150))


def words(renderer, context):
    return renderer.codec.decode(context.ids()).replace("<|image_pad|>", "·")


def one_picture(width=48, height=32):
    store = Store()
    store.add(picture(width, height))
    return store


def test_the_exact_stream_of_two_turns():
    renderer = plain_renderer()
    context = begin(renderer, [question(Show("image_1"), "what?")], one_picture(32, 16))
    say(renderer, context, zoom_text())
    context.store.add(picture(16, 16, 1))
    reply(renderer, context, observation(Show("image_2")))
    say(renderer, context, answer_text("7", "Seen."))
    assert words(renderer, context) == (
        "<|im_start|>user\n<|vision_start|>··<|vision_end|>what?<|im_end|>\n"
        "<|im_start|>assistant\nI look closer.\n<tool_call>\n"
        '{"name": "zoom", "arguments": {"image": 1, "box": [120, 340, 260, 480]}}\n'
        "</tool_call><|im_end|>\n<|im_start|>user\n<tool_response>\n"
        "<|vision_start|>·<|vision_end|>\n</tool_response><|im_end|>\n"
        "<|im_start|>assistant\nSeen.\n<answer>7</answer><|im_end|>"
    )


def test_the_exact_stream_inside_one_turn():
    renderer = plain_renderer("inline")
    context = begin(renderer, [question("what?")], one_picture())
    say(renderer, context, zoom_text("inline", (0.1, 0.2, 0.3, 0.4)))
    reply(renderer, context, observation("nothing"))
    say(renderer, context, answer_text("7", "Seen."))
    assert words(renderer, context) == (
        "<|im_start|>user\nwhat?<|im_end|>\n<|im_start|>assistant\nI look closer.\n"
        '<grounding>{"bbox_2d": [0.1, 0.2, 0.3, 0.4], "source": "original_image"}</grounding>'
        "\n<observation>nothing</observation>\nSeen.\n<answer>7</answer><|im_end|>"
    )


@pytest.mark.parametrize("style", STYLES)
@given(
    sizes=st.lists(SIZES, min_size=2, max_size=3),
    said=st.lists(st.text(max_size=20), min_size=3, max_size=3),
    told=st.text(max_size=30) | st.sampled_from(HOSTILE),
)
def test_contexts_only_grow_and_hold_what_was_sampled(style, sizes, said, told):
    renderer = plain_renderer(style)
    context = begin(renderer, [question(Show("image_1"), told)], one_picture(*sizes[0]))
    past, drawn = renderer.prompt(context).ids, []
    for i, size in enumerate(sizes):
        act = say(renderer, context, zoom_text(style, (0, 0, 1, 1), 1, said[i]))
        drawn.append(act.segment.ids)
        entry = context.store.add(picture(*size, i))
        reply(renderer, context, observation(Show(entry.handle), told))
        prompt = renderer.prompt(context)
        np.testing.assert_array_equal(prompt.ids[: len(past)], past)
        past = prompt.ids
    np.testing.assert_array_equal(context.ids()[context.mask()], np.concatenate(drawn))
    assert [p.patches.shown for p in prompt.pictures] == [
        renderer.family.shown_size(s) for s in (sizes[0], *sizes)
    ]
    for placed, seen in zip(context.placements(), prompt.pictures, strict=True):
        assert placed.runs == (seen.run,)
        assert len(seen.patches.data) == np.prod(seen.run.grid) == seen.run.length
    assert prompt.boundaries == context.boundaries()


@pytest.mark.parametrize("style", STYLES)
@given(told=st.text(max_size=60) | st.lists(st.sampled_from(HOSTILE), max_size=3).map("".join))
def test_words_never_become_control_tokens(style, told):
    renderer = plain_renderer(style)
    counts = set()
    for text in ("words", told):
        context = begin(renderer, [question(text)], one_picture(), [ZOOM])
        say(renderer, context, zoom_text(style, (0, 0, 1, 1)))
        reply(renderer, context, observation(text))
        counts.add(int(np.isin(context.ids(), list(renderer.codec.control_ids)).sum()))
    assert len(counts) == 1


@pytest.mark.parametrize("style", STYLES)
def test_encoding_the_transcript_gives_the_same_stream(style):
    renderer = plain_renderer(style)
    context = toy_episode(renderer).contexts[0]
    again = Context(0, "policy", context.store)
    for segment in renderer.encode(context.messages(), (), context.store):
        again.append(segment)
    np.testing.assert_array_equal(again.ids(), context.ids())
    assert not again.mask().any()
    np.testing.assert_array_equal(again.mask(Author.TEACHER), context.mask())
    assert again.placements() == context.placements()
    assert [s.turn for s in again.segments] == [s.turn for s in context.segments]
    spans = [[s.call_spans for s in c.segments if s.call_spans] for c in (again, context)]
    assert spans[0] == spans[1]
    np.testing.assert_array_equal(renderer.prompt(again).ids, renderer.prompt(context).ids)


def test_a_teacher_keeps_its_name_and_foreign_words_are_written_anew():
    renderer = plain_renderer()
    action = Action("ignored", "I look.", (ToolCall("zoom", {"image": 1, "box": [0, 0, 9, 9]}),))
    told = Message(
        role=Role.ASSISTANT, parts=(Text("{foreign}"),), author=Author.TEACHER, action=action
    )
    first, second = renderer.encode([question("?"), told], (), one_picture())
    assert (first.author, second.author) == (Author.USER, Author.TEACHER)
    assert renderer.codec.decode(second.ids).startswith("I look.\n<tool_call>\n{")
    assert first.ids[-len("assistant\n") :].tolist() == list(b"assistant\n")


def test_an_edited_turn_goes_on_where_the_policy_would_have():
    renderer = plain_renderer()
    context = begin(renderer, [question("?")], one_picture())
    edit = Message(role=Role.ASSISTANT, parts=(Text(zoom_text()),), author=Author.USER)
    (segment,) = renderer.write_turn(context, edit)
    assert segment.author is Author.USER
    assert segment.messages[0].action.calls[0].name == "zoom"
    np.testing.assert_array_equal(segment.ids, completion(renderer, zoom_text()).ids)
    context.append(segment)
    reply(renderer, context, observation("nothing"))
    say(renderer, context, answer_text())
    glue, again = renderer.write_turn(context, edit)
    assert glue.author is Author.TEMPLATE
    assert renderer.codec.decode(glue.ids) == "\n<|im_start|>assistant\n"
    assert again.turn == 2


def test_call_spans_name_the_tokens_of_the_call():
    renderer = plain_renderer()
    context = begin(renderer, [question("?")], one_picture())
    text = zoom_text(thought="é🚀 look") + "\n" + zoom_text(thought="and")
    act = say(renderer, context, text)
    for span in act.segment.call_spans:
        said = renderer.codec.decode(act.segment.ids[span.start : span.end])
        assert said.startswith("<tool_call>\n{")
        assert said.endswith("}\n</tool_call>")
    assert [s.call for s in act.segment.call_spans] == [0, 1]


def test_a_turn_that_was_cut_is_ended_by_the_template():
    renderer = plain_renderer()
    context = begin(renderer, [question("?")], one_picture())
    act = say(renderer, context, "I think and", finish=Finish.LENGTH)
    assert [f.code for f in act.action.faults] == [FaultCode.TRUNCATED]
    reply(renderer, context, observation("go on"))
    assert "I think and<|im_end|>\n<|im_start|>user\n<tool_response>\ngo on" in words(
        renderer, context
    )
    assert act.segment.ids[-1] != renderer.stop_ids[0]


def test_an_inline_turn_that_ended_is_answered_in_a_user_turn():
    renderer = plain_renderer("inline")
    context = begin(renderer, [question("?")], one_picture())
    say(renderer, context, "no action")
    reply(renderer, context, observation("answer or look"))
    assert (
        "no action<|im_end|>\n<|im_start|>user\n\n<observation>answer or look</observation>\n"
        "<|im_end|>\n<|im_start|>assistant\n"
    ) in words(renderer, context)


@pytest.mark.parametrize("style", STYLES)
def test_a_word_from_the_user_after_an_observation(style):
    renderer = plain_renderer(style)
    context = begin(renderer, [question("?")], one_picture())
    say(renderer, context, zoom_text(style, (0, 0, 1, 1)))
    reply(renderer, context, observation("seen"), question("Answer now."))
    end = "<|im_end|>\n<|im_start|>user\nAnswer now.<|im_end|>\n<|im_start|>assistant\n"
    assert words(renderer, context).endswith(end)
    say(renderer, context, answer_text())
    again = Context(0, "policy", context.store)
    for segment in renderer.encode(context.messages(), (), context.store):
        again.append(segment)
    np.testing.assert_array_equal(again.ids(), context.ids())


def test_a_forced_opening_is_the_templates():
    renderer = plain_renderer(chat=ChatTemplate(opening="<think>\n"))
    context = begin(renderer, [question("?")], one_picture())
    act = say(renderer, context, f"maybe {zoom_text()}</think>\n{answer_text()}")
    assert (act.action.answer, act.action.ignored) == ("7", 1)
    assert act.action.text.startswith("<think>\n")
    assert words(renderer, context).count("<think>") == 1
    assert not context.mask()[: context.boundaries()[0]].any()
    act = say(renderer, context, zoom_text())
    assert act.action.calls, "no opening where the template put none"


def test_system_words_come_before_the_tools():
    renderer = plain_renderer(announce=True)
    rules = Message(role=Role.SYSTEM, parts=(Text("Be brief."),), author=Author.TEMPLATE)
    system, user = renderer.begin([rules, question("?")], [ZOOM], one_picture())
    text = renderer.codec.decode(system.ids)
    assert text.startswith("<|im_start|>system\nBe brief.\n\n# Tools\n")
    assert (system.author, user.author) == (Author.TEMPLATE, Author.USER)
    assert int((system.ids == renderer.codec.token_id("<tool_call>")).sum()) == 1
    (only,) = plain_renderer(announce=True).begin([question("?")], (), one_picture())
    assert renderer.codec.decode(only.ids).startswith("<|im_start|>user\n")


def test_a_folded_history_teaches_nobody():
    renderer = plain_renderer()
    context = toy_episode(renderer, turns=2).contexts[0]
    again = begin(renderer, [*context.messages(), question("And now?")], context.store)
    assert not again.mask(Author.POLICY, Author.TEACHER).any()
    assert words(renderer, again).count("I look closer.") == 1


def test_one_picture_at_two_sizes():
    renderer = plain_renderer()
    context = begin(
        renderer, [question(Show("image_1"), Show("image_1", 600), "?")], one_picture(64, 64)
    )
    first, second = renderer.prompt(context).pictures
    assert (first.patches.shown, second.patches.shown) == ((64, 64), (16, 16))
    assert first.digest != second.digest
    assert context.shown("image_1") == (16, 16)


def test_a_clip_is_one_placement_of_several_runs():
    store = Store()
    store.add(Clip(tuple(picture(32, 16, i) for i in range(3)), (0.0, 0.5, 1.25)))
    renderer = plain_renderer()
    context = begin(renderer, [question(Show("clip_1"), "?")], store)
    assert "<0.5 seconds><|vision_start|>··<|vision_end|><1.2 seconds>" in words(renderer, context)
    (placement,) = context.placements()
    assert (placement.kind, len(placement.runs)) == ("clip", 3)
    assert placement.times_s == (0.0, 0.5, 1.25)
    assert len({p.digest for p in renderer.prompt(context).pictures}) == 3


def test_what_is_no_picture_is_not_shown():
    store = Store()
    store.add(DepthMap(np.zeros((2, 2), np.float32)))
    with pytest.raises(RecordError, match="cannot be shown"):
        plain_renderer().begin([question(Show("depth_1"))], (), store)


@given(room=st.integers(0, 400), size=SIZES, told=st.text(max_size=40))
def test_an_observation_enters_whole_or_not_at_all(room, size, told):
    renderer = plain_renderer()
    context = begin(renderer, [question("?")], one_picture())
    say(renderer, context, zoom_text())
    context.store.add(picture(*size))
    before = len(context)
    reply(renderer, context, observation(Show("image_2"), told), room=room)
    last = context.segments[-1]
    assert len(context) - before <= max(room, renderer.refusal_room)
    shown = renderer.prompt(context).pictures
    if shown:
        assert len(shown) == 1
        assert len(shown[0].patches.data) == shown[0].run.length
        assert last.messages[0].text == told
    else:
        assert last.messages[0].outcomes[0].fault.code is FaultCode.NO_ROOM
        assert "no_room" in last.messages[0].text
        assert not last.messages[0].shows


def test_an_observation_that_was_shown_smaller_says_so():
    renderer = plain_renderer()
    context = begin(renderer, [question("?")], one_picture())
    say(renderer, context, zoom_text())
    context.store.add(picture(64, 64))
    reply(renderer, context, observation(Show("image_2")), room=70)
    (show,) = context.segments[-1].messages[0].shows
    assert show.max_pixels is not None
    assert context.shown("image_2")[0] < 64
    renderer.prompt(context)
    fresh = plain_renderer()
    fresh.prompt(context)


def test_too_many_pictures_are_refused():
    renderer = plain_renderer(max_images=2)
    store = one_picture()
    with pytest.raises(RecordError) as refused:
        renderer.begin([question(*[Show("image_1")] * 3)], (), store)
    assert refused.value.code is FaultCode.TOO_MANY_IMAGES
    context = begin(renderer, [question(Show("image_1"), "?")], store)
    say(renderer, context, zoom_text())
    store.add(picture())
    reply(renderer, context, observation(Show("image_2"), Show("image_2")))
    assert "too_many_images" in context.messages()[-1].text
    assert len(context.placements()) == 1


def test_a_picture_that_no_family_shows_is_refused():
    store = one_picture(1000, 2)
    renderer = plain_renderer()
    with pytest.raises(RecordError) as refused:
        renderer.begin([question(Show("image_1"))], (), store)
    assert refused.value.code is FaultCode.BAD_ASPECT
    context = begin(renderer, [question("?")], store)
    say(renderer, context, zoom_text())
    reply(renderer, context, observation(Show("image_1")))
    assert "bad_aspect" in context.messages()[-1].text


def test_a_long_refusal_gives_way_to_the_one_that_room_is_kept_for():
    store, dialect = one_picture(1000, 2), plain_renderer().dialect
    renderer = TokenRenderer(family("qwen3_vl"), PlainCodec(), dialect, announce=False)
    context = begin(renderer, [question("?")], store)
    say(renderer, context, zoom_text())
    before = len(context)
    reply(renderer, context, observation(Show("image_1")), room=renderer.refusal_room)
    assert len(context) - before <= renderer.refusal_room
    assert "no_room" in context.messages()[-1].text


def test_the_place_really_used_is_told():
    renderer = plain_renderer()
    context = begin(renderer, [question(Show("image_1"))], one_picture())
    say(renderer, context, zoom_text())
    region = Region("image_1", Box(0.5, 0.5, 1.0, 1.0))
    told = Message(
        role=Role.TOOL,
        parts=(Show("image_1"),),
        author=Author.TOOL,
        outcomes=(Outcome(effective=(region,)),),
    )
    reply(renderer, context, told)
    assert '{"image": 1, "used": [500, 500, 1000, 1000]}' in words(renderer, context)


def test_placeholders_may_not_be_sampled():
    renderer = plain_renderer()
    context = begin(renderer, [question("?")], one_picture())
    for token in ("<|image_pad|>", "<|vision_start|>", "<|video_pad|>"):
        bad = renderer.codec.token_id(token)
        assert bad in renderer.forbidden_ids
        said = Completion(
            ids=np.array([65, bad], np.int32),
            logprobs=np.zeros(2, np.float32),
            finish=Finish.STOP,
            version=0,
        )
        with pytest.raises(RecordError, match="forbidden"):
            renderer.next(context, said, Sampling())


def test_nothing_is_replied_before_the_policy_spoke():
    renderer = plain_renderer()
    context = begin(renderer, [question("?")], one_picture())
    with pytest.raises(RecordError, match="policy is to speak"):
        renderer.extend(context, [observation("early")])


@pytest.mark.parametrize(
    "change",
    [
        lambda p: (),
        lambda p: (p, p),
        lambda p: (dataclasses.replace(p, handle="image_2"),),
        lambda p: (dataclasses.replace(p, runs=(Run(p.runs[0].start, 5, (1, 2, 3)),)),),
        lambda p: (dataclasses.replace(p, runs=(Run(0, 6, (1, 2, 3)),)),),
        lambda p: (dataclasses.replace(p, runs=(p.runs[0], p.runs[0])),),
    ],
)
def test_a_record_that_contradicts_itself_is_no_prompt(change):
    renderer = plain_renderer()
    (good,) = renderer.begin([question(Show("image_1"))], (), one_picture())
    context = Context(0, "policy", one_picture())
    context.append(
        Segment(
            author=Author.USER,
            turn=0,
            messages=good.messages,
            ids=np.array(good.ids),
            placements=change(good.placements[0]),
        )
    )
    with pytest.raises(RecordError):
        renderer.prompt(context)


def test_collapsed_and_expanded_are_one_prompt():
    renderer = plain_renderer()
    prompt = renderer.prompt(toy_episode(renderer).contexts[0])
    short = collapse(prompt)
    pad = renderer.codec.token_id("<|image_pad|>")
    lengths = [p.run.length for p in prompt.pictures]
    assert int((short == pad).sum()) == len(lengths) == 3
    np.testing.assert_array_equal(expand(short, lengths, pad), prompt.ids)
    with pytest.raises(RecordError, match="3 placeholders for 2"):
        expand(short, lengths[:2], pad)
