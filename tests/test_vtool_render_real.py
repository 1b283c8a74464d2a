"""The token renderer with a real tokenizer and the real families, and whole scripted episodes."""

import asyncio
import json

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
from vtool.vision_tools.zoom import zoom

from vtool.check_renderer import HOSTILE, check_renderer
from vtool.environment import ToolEnvironment
from vtool.errors import CheckpointError, UnknownName
from vtool.families import family
from vtool.geometry import Units
from vtool.message import Show
from vtool.pairs import PAIRS, RenderSettings, load_renderer, render_pair
from vtool.plain_codec import CONTROLS
from vtool.programs.solo import play
from vtool.record import Context, StopReason
from vtool.seat import Seat
from vtool.store import Store
from vtool.task import Answer, Task
from vtool.toolbox import Toolbox

tokenizers = pytest.importorskip("tokenizers")
pytest.importorskip("torch")

REAL = [p for p in PAIRS if p[0] != "plain"]
MORE = ("<|endoftext|>", "<think>", "</think>", "<tool_response>", "</tool_response>")
QWEN_SPLIT = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}"
    r"| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A checkpoint folder without weights: tokenizer, config, processor, no vtool.json."""
    path = tmp_path_factory.mktemp("checkpoint")
    tokenizer = tokenizers.Tokenizer(tokenizers.models.BPE())
    tokenizer.pre_tokenizer = tokenizers.pre_tokenizers.Sequence(
        [
            tokenizers.pre_tokenizers.Split(tokenizers.Regex(QWEN_SPLIT), "isolated"),
            tokenizers.pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
        ]
    )
    tokenizer.decoder = tokenizers.decoders.ByteLevel()
    trainer = tokenizers.trainers.BpeTrainer(
        vocab_size=600,
        initial_alphabet=sorted(tokenizers.pre_tokenizers.ByteLevel.alphabet()),
        show_progress=False,
    )
    texts = [zoom_text(), answer_text(), zoom_text("inline"), '{"a": [1, 2]}}\n', "user\n", '"}}\n']
    tokenizer.train_from_iterator(texts * 20, trainer)
    tokenizer.add_special_tokens([*CONTROLS[:6], *MORE[:1]])
    tokenizer.add_tokens([*CONTROLS[6:], *MORE[1:]])
    tokenizer.save(str(path / "tokenizer.json"))
    (path / "config.json").write_text(
        json.dumps({"model_type": "qwen3_vl", "vision_config": {"patch_size": 8}})
    )
    size = {"shortest_edge": 256, "longest_edge": 4096}
    (path / "preprocessor_config.json").write_text(json.dumps({"size": size}))
    return path


def real(folder, dialect="hermes", **settings):
    return load_renderer(folder, **{"dialect": dialect, "announce": False, **settings})


@pytest.mark.parametrize("dialect", ["hermes", "inline"])
def test_the_shipped_check_passes_with_a_real_tokenizer(folder, dialect):
    check_renderer(real(folder, dialect))


@pytest.mark.parametrize("pair", REAL, ids="/".join)
def test_every_tested_pair_is_tested(folder, pair):
    check_renderer(render_pair(*pair, folder))


def test_the_pairs_default_to_what_their_models_write(folder):
    assert render_pair("qwen25_vl", "hermes", folder).dialect.coordinates.units is Units.SHOWN
    assert render_pair("qwen3_vl", "hermes", folder).dialect.coordinates.units is Units.THOUSAND


def test_a_folder_says_how_it_is_talked_to(folder, tmp_path):
    renderer = load_renderer(folder)
    assert (renderer.family.spec.patch, renderer.family.spec.max_pixels) == (8, 4096)
    assert renderer.family.spec.mean == family("qwen3_vl").spec.mean
    assert renderer.name == "qwen3_vl/hermes"
    system, _ = renderer.begin([question("?")], [ZOOM], Store())
    assert "# Tools" in renderer.codec.decode(system.ids)
    for name in ("config.json", "preprocessor_config.json", "tokenizer.json"):
        (tmp_path / name).write_text((folder / name).read_text())
    RenderSettings(dialect="inline", announce=False).write(tmp_path)
    assert load_renderer(tmp_path).dialect.name == "inline"
    with pytest.raises(UnknownName, match="tested pair"):
        load_renderer(tmp_path, dialect="other")
    with pytest.raises(CheckpointError, match="says family qwen25_vl"):
        load_renderer(tmp_path, family="qwen25_vl")


def test_a_tokenizer_without_a_control_token_is_refused_at_start_up(folder, tmp_path):
    body = json.loads((folder / "tokenizer.json").read_text())
    body["added_tokens"] = [t for t in body["added_tokens"] if t["content"] != "<grounding>"]
    for name in ("config.json", "preprocessor_config.json"):
        (tmp_path / name).write_text((folder / name).read_text())
    (tmp_path / "tokenizer.json").write_text(json.dumps(body))
    assert load_renderer(tmp_path).dialect.name == "hermes"
    with pytest.raises(CheckpointError, match="<grounding>"):
        load_renderer(tmp_path, dialect="inline")


@pytest.mark.parametrize("dialect", ["hermes", "inline"])
def test_ids_are_those_of_the_whole_text(folder, dialect):
    """Pieces give the ids that the tokenizer gives for the transcript as one string."""
    renderer = real(folder, dialect)
    context = toy_episode(renderer).contexts[0]
    whole = renderer.codec.encode_template(renderer.codec.decode(context.ids()))
    np.testing.assert_array_equal(context.ids(), whole)
    assert any(b"}}\n" in p for p in renderer.codec.pieces(context.ids())) == (dialect == "hermes")


@pytest.mark.parametrize("dialect", ["hermes", "inline"])
def test_what_a_teacher_says_has_the_ids_of_what_is_sampled(folder, dialect):
    renderer = real(folder, dialect)
    context = toy_episode(renderer).contexts[0]
    again = Context(0, "policy", context.store)
    for segment in renderer.encode(context.messages(), (), context.store):
        again.append(segment)
    np.testing.assert_array_equal(again.ids(), context.ids())
    assert [s.call_spans for s in again.segments] == [s.call_spans for s in context.segments]


@pytest.mark.parametrize("dialect", ["hermes", "inline"])
@given(
    told=st.text(max_size=40) | st.lists(st.sampled_from(HOSTILE), max_size=2).map("".join),
)
def test_control_tokens_are_those_of_the_template(folder, dialect, told):
    renderer = _cached(folder, dialect)
    counts = []
    for question_text, reply_text in (("words", "words"), (told, told)):
        store = Store()
        store.add(picture(64, 40))
        context = begin(renderer, [question(Show("image_1"), question_text)], store, [ZOOM])
        say(renderer, context, zoom_text(dialect, (0, 0, 1, 1)))
        reply(renderer, context, observation(reply_text))
        found = np.isin(context.ids(), list(renderer.codec.control_ids))
        counts.append(int((found & ~context.mask()).sum()))
    assert counts[0] == counts[1]


_RENDERERS = {}


def _cached(folder, dialect):
    if dialect not in _RENDERERS:
        _RENDERERS[dialect] = real(folder, dialect)
    return _RENDERERS[dialect]


def test_spans_of_calls_hold_with_merged_tokens(folder):
    renderer = real(folder)
    context = begin(renderer, [question("?")], Store())
    act = say(renderer, context, zoom_text(thought="é🚀") + "\n" + zoom_text())
    for span in act.segment.call_spans:
        said = renderer.codec.decode(act.segment.ids[span.start : span.end])
        assert (said[:11], said[-12:]) == ("<tool_call>", "</tool_call>")


class Scripted:
    """An engine that says what it is told to; checks each prompt against the last."""

    def __init__(self, renderer, texts):
        self.renderer, self.texts, self.seen = renderer, iter(texts), []

    @property
    def version(self):
        return 0

    async def generate(self, request):
        if self.seen:
            past = self.seen[-1].ids
            np.testing.assert_array_equal(request.prompt.ids[: len(past)], past)
        self.seen.append(request.prompt)
        return completion(self.renderer, next(self.texts))


@pytest.mark.parametrize("real_tokens", [False, True])
@pytest.mark.parametrize("dialect", ["hermes", "inline"])
def test_a_whole_scripted_episode(folder, dialect, real_tokens):
    renderer = real(folder, dialect) if real_tokens else plain_renderer(dialect)
    box = (0.25, 0.25, 0.75, 0.75) if dialect == "inline" else (250, 250, 750, 750)
    over = (0.5, 0.5, 1.5, 0.9) if dialect == "inline" else (500, 500, 1500, 900)
    texts = [
        zoom_text(dialect, box, 1),
        zoom_text(dialect, over, 2),
        zoom_text(dialect, box, 9),
        zoom_text(dialect, box).replace('"', "'"),
        answer_text("7"),
    ]
    task = Task(id="t", prompt=(picture(160, 120), "what?"), reference=Answer(("7",)))
    env = ToolEnvironment(task, Toolbox([zoom]))
    engine = Scripted(renderer, texts)
    episode = asyncio.run(play(env, {"policy": Seat("policy", renderer, engine)}))
    assert (episode.stop, episode.answer, episode.error) == (StopReason.ANSWERED, "7", None)
    context = episode.final
    text = renderer.codec.decode(context.ids())
    assert [p.handle for p in context.placements()] == ["image_1", "image_2", "image_3"]
    codes = [o.fault.code if o.fault else "done" for o in episode.outcomes()]
    assert codes == ["done", "done", "unknown_image", "bad_json"]
    used = "[0.5, 0.5, 1.0, 0.9]" if dialect == "inline" else "[500, 500, 1000, 900]"
    assert f'"used": {used}' in text
    assert context.mask().sum() == sum(len(completion(renderer, t).ids) for t in texts)
