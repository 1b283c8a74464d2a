import json
import re
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from transformers import AutoTokenizer
from vtool.rl.tiny import tokenizer as tokens
from vtool.rl.tiny.batch import collate, positions_of
from vtool.rl.tiny.expert import Demo, Scribe, example_texts, jittered_box, region_of, retarget
from vtool.rl.tiny.spec import FAMILY, SPEC
from vtool.rl.tiny.views import MINIMUM_SIDE, zoom
from vtool.rl.tiny.weaken import Habits, spoil

from vtool.worlds.zoom import Kind, draw


@pytest.fixture(scope="module")
def scribe() -> Scribe:
    return Scribe(tokens.train(example_texts()))


# ------------------------------------------------------------------ tokenizer


def test_the_special_tokens_come_first(scribe: Scribe):
    names = [*tokens.SPECIAL, *tokens.MARKERS]
    assert [scribe.tokenizer.token_to_id(n) for n in names] == list(range(len(names)))


@pytest.mark.parametrize("number", [0, 10, 120, 990, 1000])
def test_a_multiple_of_ten_is_one_token(scribe: Scribe, number: int):
    for text in ("[{}, ", ", {}]", " {}", "{}"):
        ids = scribe.tokenizer.encode(text.format(number)).ids
        assert scribe.tokenizer.token_to_id(str(number)) in ids


@pytest.mark.parametrize("text", ["1010", "1205", "x120", "12"])
def test_other_numbers_are_spelt(scribe: Scribe, text: str):
    numbers = {scribe.tokenizer.token_to_id(n) for n in tokens.NUMBERS[1:]}
    assert not numbers & set(scribe.tokenizer.encode(text).ids)


@settings(max_examples=60, deadline=None)
@given(text=st.text())
def test_any_text_survives_a_round_trip(scribe: Scribe, text: str):
    ids = scribe.tokenizer.encode(text, add_special_tokens=False).ids
    assert scribe.tokenizer.decode(ids, skip_special_tokens=False) == text


def test_the_vocabulary_leaves_room(scribe: Scribe):
    assert scribe.tokenizer.get_vocab_size() <= tokens.LEARNT
    assert tokens.ROWS - tokens.LEARNT >= 100
    assert tokens.ROWS < 700


def test_plain_transformers_loads_the_files(scribe: Scribe, tmp_path: Path):
    tokens.save(scribe.tokenizer, tmp_path)
    loaded = AutoTokenizer.from_pretrained(tmp_path)
    text = 'The red circle.\n<tool_call>\n{"box": [120, 340, 260, 480]}\n</tool_call><|im_end|>'
    assert loaded.encode(text) == scribe.tokenizer.encode(text).ids
    assert loaded.decode(loaded.encode(text)) == text
    assert loaded.eos_token == "<|im_end|>"
    prompt = loaded.apply_chat_template(
        [{"role": "user", "content": [{"type": "image"}, {"type": "text", "text": "what?"}]}],
        tokenize=False,
        add_generation_prompt=True,
    )
    assert prompt == (
        "<|im_start|>user\n<|vision_start|><|image_pad|><|vision_end|>what?<|im_end|>\n"
        "<|im_start|>assistant\n"
    )


# -------------------------------------------------------------------- episodes

PAD = "(?:<.image_pad.>)+"
LOOK = (
    r"The [a-z]+ (?:circle|frame) is at the (?:upper|lower) (?:left|right); its (?:digit is too "
    r"small to read|circles are too small to see)\."
)
SHOWN = {
    "prompt": rf"<.im_start.>user\n<.vision_start.>{PAD}<.vision_end.>[a-z ]+\?<.im_end.>\n"
    r"<.im_start.>assistant\n",
    "call": LOOK + r"\n<tool_call>\n(\{.*?\})\n</tool_call><.im_end.>",
    "observation": rf"\n<.im_start.>user\n<tool_response>\n<.vision_start.>{PAD}<.vision_end.>\n"
    r"</tool_response><.im_end.>\n<.im_start.>assistant\n",
    "answer": r"[A-Z][a-z0-9 ]+\.\n<answer>[a-z0-9 ]+</answer><.im_end.>",
}


@pytest.mark.parametrize("kind", list(Kind))
def test_an_episode_is_the_agreed_token_stream(scribe: Scribe, kind: Kind):
    rng = np.random.default_rng(0)
    turn = SHOWN["call"] + SHOWN["observation"]
    pattern = SHOWN["prompt"] + turn * kind.zooms + SHOWN["answer"]
    for seed in range(20):
        demo = scribe.demo(draw(seed, kind=kind), rng)
        text = scribe.tokenizer.decode(demo.ids, skip_special_tokens=False)
        found = re.fullmatch(pattern, text)
        assert found, text
        calls = [json.loads(c) for c in found.groups()]
        assert [c["arguments"]["image"] for c in calls] == list(range(1, kind.zooms + 1))
        for call, raw in zip(calls, found.groups(), strict=True):
            assert json.dumps(call) == raw
            assert call["name"] == "zoom"
            assert all(v % 20 == 0 for v in call["arguments"]["box"])
        assert len(demo.views) == kind.zooms + 1


@pytest.mark.parametrize("kind", list(Kind))
def test_what_is_learnt_is_what_the_policy_wrote(scribe: Scribe, kind: Kind):
    rng = np.random.default_rng(1)
    demo = scribe.demo(draw(3, kind=kind), rng)
    end = scribe.tokenizer.token_to_id("<|im_end|>")
    start = scribe.tokenizer.encode("<|im_start|>assistant\n").ids
    spans = []
    for i, (learn, before) in enumerate(zip(demo.learn, [False, *demo.learn], strict=False)):
        if learn and not before:
            spans.append([i, i])
        if learn:
            spans[-1][1] = i
    assert len(spans) == kind.zooms + 1
    for first, last in spans:
        assert demo.ids[first - len(start) : first] == start
        assert demo.ids[last] == end
        text = scribe.tokenizer.decode(demo.ids[first : last + 1], skip_special_tokens=False)
        # Encoded on its own, the turn gives the same ids: its edge is a token edge.
        assert scribe.tokenizer.encode(text).ids == demo.ids[first : last + 1]
    pictures = [i == scribe.image for i in demo.ids]
    assert not any(a and b for a, b in zip(pictures, demo.learn, strict=True))


def test_the_expert_looks_where_the_target_is(scribe: Scribe):
    rng = np.random.default_rng(2)
    for seed in range(60):
        scene = draw(seed, kind="two")
        for disc in range(0, len(scene.discs), 5):
            asked = retarget(scene, disc)
            box = (0, 0, scene.pixels.shape[1], scene.pixels.shape[0])
            for target in asked.path:
                region = region_of(jittered_box(target, box, rng), box)
                _, box = zoom(asked.pixels, region)
                x, y = (target[0] + target[2]) / 2, (target[1] + target[3]) / 2
                assert box[0] < x < box[2]
                assert box[1] < y < box[3]


@pytest.mark.parametrize(
    ("region", "box"),
    [
        ((10.0, 20.0, 60.0, 70.0), (10, 20, 60, 70)),
        ((10.2, 20.9, 59.1, 69.5), (10, 20, 60, 70)),
        ((100.0, 100.0, 104.0, 130.0), (94, 100, 110, 130)),
        ((0.0, 380.0, 2.0, 384.0), (0, 368, 16, 384)),
    ],
)
def test_the_crop_is_rounded_outward_and_grown(region, box):
    pixels = np.zeros((384, 384, 3), np.uint8)
    crop, cut = zoom(pixels, region)
    assert cut == box
    assert crop.shape[:2] == (box[3] - box[1], box[2] - box[0])
    assert min(crop.shape[:2]) >= MINIMUM_SIDE


def test_a_nearly_square_crop_is_shown_square():
    for side in range(16, 385):
        for other in (side, round(side * 1.12)):
            assert FAMILY.shown_size((side, other)) == (64, 64), (side, other)
            assert FAMILY.shown_size((other, side)) == (64, 64), (side, other)


def test_positions_are_the_library_s_own(scribe: Scribe):
    from vtool.rl.tiny.spec import new_policy

    model = new_policy(scribe.tokenizer, 0).model.model
    rng = np.random.default_rng(3)
    demo = scribe.demo(draw(5, kind="two"), rng)
    ids = torch.tensor([demo.ids])
    shown = [FAMILY.patches(v).grid for v in demo.views]
    wanted, _ = model.get_rope_index(
        ids, (ids == scribe.image).long(), image_grid_thw=torch.tensor(shown)
    )
    assert torch.equal(positions_of(demo.ids, scribe.image, demo.views), wanted[:, 0])


def test_padding_on_either_side_holds_the_same_rows(scribe: Scribe):
    rng = np.random.default_rng(4)
    rows = [scribe.demo(draw(i, kind=k), rng) for i, k in enumerate(Kind)]
    right, left = collate(rows, scribe.image), collate(rows, scribe.image, left=True)
    length = right.ids.shape[1]
    for i, row in enumerate(rows):
        n = len(row.ids)
        assert right.ids[i, :n].tolist() == left.ids[i, length - n :].tolist() == row.ids
        assert not right.learn[i, n:].any()
        assert torch.equal(right.positions[:, i, :n], left.positions[:, i, length - n :])


# ------------------------------------------------------------------ weak start


@pytest.mark.parametrize(
    ("habits", "wanted"),
    [(Habits(1, 0, 0), {1: 1.0}), (Habits(0, 0, 1), {0: 1.0}), (Habits(0.5, 0.2, 0.3), {0: 0.3})],
)
def test_bad_habits_come_in_their_shares(habits: Habits, wanted: dict[int, float]):
    rng = np.random.default_rng(5)
    calls = [len(spoil(draw(i), rng, habits)[0]) - 1 for i in range(200)]
    for count, share in wanted.items():
        assert abs(calls.count(count) / 200 - share) < 0.1


def test_a_random_zoom_misses_and_a_plain_question_is_left_alone():
    rng = np.random.default_rng(6)
    hits = 0
    for seed in range(60):
        scene = draw(seed)
        made, views = spoil(scene, rng, Habits(0, 1, 0))
        assert made[-1].answer == scene.answer
        assert len(views) == 2
        x1, y1, x2, y2 = region_of(made[0].box, (0, 0, 384, 384))
        hits += x1 < scene.target.x < x2 and y1 < scene.target.y < y2
        plain = draw(seed, kind="none")
        assert [s.box for s in spoil(plain, rng, Habits(0, 1, 0))[0]] == [None]
    assert hits < 12


def test_demo_rows_are_independent(scribe: Scribe):
    rng = np.random.default_rng(7)
    scene = draw(1)
    first: Demo = scribe.demo(scene, rng)
    length = len(first.ids)
    scribe.demo(scene, rng)
    assert len(first.ids) == len(first.learn) == length
    assert sum(i == scribe.image for i in first.ids) >= 2 * 9
    assert SPEC.factor == 16
