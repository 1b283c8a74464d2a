"""Clips that re-enter as video tokens: the same numbers as the plain library, in both families."""

import asyncio
import dataclasses
import json
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from clips import EVEN, UNEVEN, film, film_episode, library_logits, video_renderer
from scripts import begin, observation, picture, question, reply, say, zoom_text
from toy_policy import FAMILIES, policy
from transformers.models.qwen3_vl.processing_qwen3_vl import Qwen3VLProcessor
from vtool.rl.batch import make_batch, make_sample
from vtool.rl.metrics_log import read_metrics
from vtool.rl.recipe import load_recipe
from vtool.rl.train import train

from vtool.check_renderer import check_renderer
from vtool.engines.base import Request
from vtool.engines.hf import HFEngine
from vtool.errors import CheckpointError, RecipeError, RecordError
from vtool.families.positions import even_step, time_positions
from vtool.message import Author, Show
from vtool.pairs import RenderSettings
from vtool.record import Sampling
from vtool.store import Store
from vtool.trace import TraceRecord, read_trace, write_trace

torch.set_num_threads(1)
VIDEO = "<|video_pad|>"


def forward(name, prompt):
    """Our forward over one prompt: logits (L, V)."""
    vlm = policy(name).vlm
    blocks = [vlm.family.block(p.run.start, p.run.grid, times_s=p.times_s) for p in prompt.pictures]
    positions = torch.from_numpy(vlm.family.positions(len(prompt.ids), blocks))[:, None]
    with torch.no_grad():
        vision = vlm.encode([p.patches for p in prompt.pictures])
        ids = torch.from_numpy(prompt.ids).long()[None]
        hidden = vlm.hidden(ids, positions, vision=vision)
        return vlm.head(hidden)[0]


def text_of(renderer, context):
    """The words of a context, each run of placeholders shown as one."""
    return renderer.codec.decode(context.ids().tolist())


# ------------------------------------------------------------------- against the library


@pytest.mark.parametrize("name", FAMILIES)
def test_logits_of_pictures_and_clips_together_equal_the_librarys(name):
    renderer = video_renderer(name)
    context = film_episode(renderer, (EVEN, EVEN[:4])).final
    prompt = renderer.prompt(context)
    assert [p.video for p in prompt.pictures].count(False) == 2
    ours = forward(name, prompt)
    theirs = library_logits(policy(name).vlm, prompt, [1.0, 1.0])
    assert theirs.std() > 0.05
    assert (ours - theirs).abs().max() <= 1e-4


@pytest.mark.parametrize("name", FAMILIES)
def test_the_library_would_say_otherwise_of_other_frames(name):
    """The comparison above can fail: a clip with two frames exchanged is another clip."""
    renderer = video_renderer(name)
    context = film_episode(renderer, (EVEN, EVEN[:4])).final
    prompt = renderer.prompt(context)
    clip = next(p for p in prompt.pictures if p.video)
    turned = dataclasses.replace(clip.patches, data=clip.patches.data[::-1].copy())
    changed = tuple(
        dataclasses.replace(p, patches=turned) if p is clip else p for p in prompt.pictures
    )
    ours = forward(name, dataclasses.replace(prompt, pictures=changed))
    theirs = library_logits(policy(name).vlm, prompt, [1.0, 1.0])
    assert (ours - theirs).abs().max() > 1e-3


@pytest.mark.parametrize("count", [1, 2, 5, 6])
@pytest.mark.parametrize("rate", [2.0, 0.7])
def test_qwen3_writes_a_clip_as_its_processor_does(count, rate):
    renderer, store = video_renderer(), Store()
    times = tuple(float(i / rate) for i in range(3, 3 + count))
    store.add(film(times, (48, 32)))
    context = begin(renderer, [question(Show("clip_1"))], store)
    (placement,) = context.placements()
    t, h, w = len(placement.runs), *placement.runs[0].grid[1:]
    fake = SimpleNamespace(
        video_processor=SimpleNamespace(merge_size=2, temporal_patch_size=2),
        video_token=VIDEO,
        vision_start_token="<|vision_start|>",
        vision_end_token="<|vision_end|>",
    )
    fake._calculate_timestamps = lambda *a: Qwen3VLProcessor._calculate_timestamps(fake, *a)
    metadata = SimpleNamespace(fps=rate, frames_indices=list(range(3, 3 + count)))
    inputs = {"video_grid_thw": np.array([[t, h, w]]), "video_metadata": [metadata]}
    wanted = Qwen3VLProcessor.replace_video_token(fake, inputs, 0)
    assert wanted in text_of(renderer, context)
    assert wanted.count(VIDEO) == sum(r.length for r in placement.runs)


@pytest.mark.parametrize("name", FAMILIES)
def test_frames_share_tokens_and_the_last_unit_is_filled(name):
    renderer, store = video_renderer(name), Store()
    store.add(film(EVEN, (48, 32)))
    store.add(film((*EVEN, 12.5), (48, 32)))
    context = begin(renderer, [question(Show("clip_1"), Show("clip_2"))], store)
    five, six = context.placements()
    assert sum(r.length for r in five.runs) == sum(r.length for r in six.runs)
    assert (five.pictures, six.pictures) == (5, 6)
    assert (five.kind, five.video, five.times_s) == ("clip", True, EVEN)
    runs = {"qwen3_vl": 3, "qwen25_vl": 1}[name]
    assert len(five.runs) == runs
    assert sum(r.grid[0] for r in five.runs) == 3


# -------------------------------------------------------------------------- positions


def test_uneven_times_stand_where_the_clock_says():
    """2 positions a second: units at 3.0, 5.0 and 9.4 s lie 0, 4 and 12 after the first."""
    renderer, store = video_renderer("qwen25_vl"), Store()
    store.add(film(UNEVEN, (32, 32)))
    context = begin(renderer, [question(Show("clip_1"))], store)
    prompt = renderer.prompt(context)
    (shown,) = prompt.pictures
    assert shown.times_s == (3.0, 5.0, 9.4)
    family = policy("qwen25_vl").vlm.family
    block = family.block(shown.run.start, shown.run.grid, times_s=shown.times_s)
    assert block.times == (0, 4, 12)
    assert even_step(shown.times_s) is None
    positions = family.positions(len(prompt.ids), [block])
    run = slice(shown.run.start, shown.run.start + shown.run.length)
    times = positions[0, run] - positions[0, shown.run.start]
    assert sorted(set(times.tolist())) == [0, 4, 12]


def test_what_the_clock_counts():
    assert even_step((7.0,)) == 0.0
    assert even_step((1.0, 2.0, 3.001)) == pytest.approx(1.0005)
    assert time_positions((4.0, 4.5, 6.0), 2.0) == (0, 1, 4)


def test_a_later_clip_of_the_same_frames_is_another_showing():
    """Equal frames at other distances: equal pixels, other positions, so another digest."""
    renderer, store = video_renderer("qwen25_vl"), Store()
    frames = film(EVEN[:4]).frames
    for times in ((0.0, 0.5, 1.0, 1.5), (0.0, 1.0, 2.0, 3.0)):
        store.add(dataclasses.replace(film(EVEN[:4]), frames=frames, times_s=times))
    context = begin(renderer, [question(Show("clip_1"), Show("clip_2"))], store)
    first, second = renderer.prompt(context).pictures
    assert first.digest != second.digest
    np.testing.assert_array_equal(first.patches.data, second.patches.data)


# ------------------------------------------------------------- engine, learner, record


@pytest.mark.parametrize("times", [(EVEN, UNEVEN), (UNEVEN, EVEN, EVEN[:3])])
@pytest.mark.parametrize("name", FAMILIES)
def test_what_the_engine_drew_is_what_the_learner_reads(name, times):
    """Turn by turn on a cache, against one packed forward over the finished contexts."""
    vlm, renderer = policy(name).vlm, video_renderer(name)
    engine = HFEngine(vlm, synchronous=False)
    samples = []
    for seed in range(2):
        context = drawn(engine, renderer, times, seed)
        samples.append(make_sample(context, renderer, vlm.family, 1.0))
    for rows in ([[0], [1]], [[1, 0]]):
        batch = make_batch(samples, rows, vlm.visual_ids)
        with torch.no_grad():
            found, _ = policy(name)(batch)
        assert len(found) >= 2 * 6 * len(times)
        assert (found - batch.old_logp).abs().max() <= 1e-4


def drawn(engine, renderer, times, seed):
    """A context whose turns were sampled, with a clip before each."""
    store = Store()
    store.add(picture(48, 32, seed))
    store.add(film(times[0], seed=seed))
    asked = question(Show("image_1"), Show("clip_1"), "When?")
    context = begin(renderer, [asked], store)
    speak(engine, renderer, context, (seed, 0))
    for turn, of in enumerate(times[1:], start=1):
        store.add(film(of, seed=seed + turn))
        reply(renderer, context, observation(Show(f"clip_{turn + 1}")))
        speak(engine, renderer, context, (seed, turn))
    return context


def speak(engine, renderer, context, key):
    request = Request(
        prompt=renderer.prompt(context),
        sampling=Sampling(max_tokens=8),
        stop_ids=renderer.stop_ids,
        forbidden_ids=renderer.forbidden_ids,
        key=key,
    )
    completion = asyncio.run(engine.generate(request))
    context.append(renderer.next(context, completion, Sampling()).segment)


@pytest.mark.parametrize("name", FAMILIES)
def test_turn_by_turn_equals_whole(name):
    renderer = video_renderer(name)
    episode = film_episode(renderer, (EVEN, UNEVEN))
    whole = renderer.encode(episode.path_messages(), (), episode.store)
    np.testing.assert_array_equal(np.concatenate([s.ids for s in whole]), episode.final.ids())


@pytest.mark.parametrize("name", FAMILIES)
def test_a_trace_keeps_what_was_shown(name, tmp_path):
    renderer = video_renderer(name)
    episode = film_episode(renderer)
    write_trace(tmp_path, [TraceRecord(episode)])
    read = next(read_trace(tmp_path)).episode.final
    assert read.placements() == episode.final.placements()
    ours, theirs = renderer.prompt(episode.final), renderer.prompt(read)
    assert [p.digest for p in ours.pictures] == [p.digest for p in theirs.pictures]


@pytest.mark.parametrize("name", FAMILIES)
def test_placeholders_and_features_are_counted(name):
    """Wrong placements, and the form of clips changed under a record, are refused."""
    renderer = video_renderer(name)
    episode = film_episode(renderer)
    segment = episode.final.segments[0]
    clip = segment.placements[-1]
    short = dataclasses.replace(clip.runs[0], length=clip.runs[0].length - 1)
    broken = dataclasses.replace(clip, runs=(short, *clip.runs[1:]))
    torn = dataclasses.replace(segment, placements=(*segment.placements[:-1], broken))
    context = begin(renderer, [], episode.store)
    context.append(torn)
    with pytest.raises(RecordError, match="placeholder"):
        renderer.prompt(context)
    with pytest.raises(RecordError):
        video_renderer(name, clips="pictures").prompt(episode.final)


def test_placeholders_of_the_wrong_kind_are_refused():
    renderer = video_renderer()
    episode = film_episode(renderer)
    segment = episode.final.segments[0]
    run = segment.placements[-1].runs[0]
    ids = segment.ids.copy()
    ids[run.start : run.start + run.length] = renderer.ink.image
    context = begin(renderer, [], episode.store)
    context.append(dataclasses.replace(segment, ids=ids))
    with pytest.raises(RecordError, match="placeholder"):
        renderer.prompt(context)


@pytest.mark.parametrize("name", FAMILIES)
def test_the_placeholder_written_in_words_stays_words(name):
    renderer, store = video_renderer(name), Store()
    context = begin(renderer, [question(f"What is {VIDEO}?")], store)
    assert renderer.ink.video not in context.ids()
    assert VIDEO in text_of(renderer, context)
    assert renderer.ink.video in renderer.forbidden_ids


# --------------------------------------------------------------------------- budgets


@pytest.mark.parametrize("name", FAMILIES)
@pytest.mark.parametrize("room", [20, 60, 120, 400])
def test_little_room_makes_a_clip_smaller_or_refuses_it(name, room):
    renderer, store = video_renderer(name), Store()
    store.add(picture())
    context = begin(renderer, [question(Show("image_1"), "When?")], store)
    say(renderer, context, zoom_text())
    store.add(film((*EVEN, 13.0, 14.0, 15.0), (96, 96)))
    before = len(context)
    reply(renderer, context, observation(Show("clip_1")), room=room)
    assert len(context) - before <= max(room, renderer.refusal_room)
    shown = [p for p in renderer.prompt(context).pictures if p.video]
    last = context.segments[-1].messages[0]
    assert shown or "no_room" in last.text


def test_frames_are_counted_against_the_bound_of_pictures():
    renderer, store = video_renderer(max_images=6), Store()
    store.add(film(EVEN))
    store.add(film(EVEN[:3]))
    with pytest.raises(RecordError, match="too_many_images"):
        renderer.begin([question(Show("clip_1"), Show("clip_2"))], (), store)
    renderer.begin([question(Show("clip_1"))], (), store)


@pytest.mark.parametrize("name", FAMILIES)
def test_the_renderer_keeps_its_contract(name):
    check_renderer(video_renderer(name))


# ----------------------------------------------------------------- checkpoint and recipe


def test_a_checkpoint_says_what_clips_become(tmp_path):
    RenderSettings(clips="video").write(tmp_path)
    assert RenderSettings.read(tmp_path).clips == "video"
    RenderSettings(clips="film").write(tmp_path)
    with pytest.raises(CheckpointError, match=r"clips: expected pictures or video"):
        RenderSettings.read(tmp_path)


def test_a_recipe_says_what_clips_become():
    assert load_recipe("vital").clips is None
    assert load_recipe("vital", ["clips=video"]).clips == "video"
    with pytest.raises(RecipeError, match=r"clips.*pictures, video"):
        load_recipe("vital", ["clips=film"])


@pytest.mark.parametrize("author", [Author.POLICY, Author.TOOL])
def test_only_the_policys_tokens_are_learnt(author):
    context = film_episode(video_renderer()).final
    sample = make_sample(context, video_renderer(), policy().vlm.family)
    mask = context.mask(author)
    assert (sample.target & mask).any() == (author is Author.POLICY)


def test_vital_learns_from_video_tokens(tmp_path):
    """One step of each stage; the model that is left says how it wants to see clips."""
    small = ["clips=video", "group_size=2", "prompts=2", "data.options={videos: 3}"]
    stages = [{"name": "grpo", "steps": 1}, {"name": "dgrpo", "steps": 1}]
    recipe = load_recipe("vital", [*small, f"stages={json.dumps(stages)}", "trace_every=1"])
    train(recipe, tmp_path)
    for folder in ("01-grpo/model", "01-grpo/checkpoints/step-000001/model", "02-dgrpo/model"):
        assert RenderSettings.read(tmp_path / folder).clips == "video"
    (metrics,) = read_metrics(tmp_path / "02-dgrpo")
    assert metrics["images"] >= 8
    shown = [
        p
        for record in read_trace(tmp_path / "01-grpo" / "trace" / "step-000001")
        for p in record.episode.final.placements()
    ]
    assert shown
    assert all(p.video for p in shown if p.kind == "clip")
