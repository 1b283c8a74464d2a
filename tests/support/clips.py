"""Episodes in which clips re-enter as video tokens, and the plain library's reading of them."""

from functools import cache

import torch
from scripts import answer_text, observation, picture, question, say, zoom_text
from toy_policy import policy

from vtool.dialects import make_dialect
from vtool.families.pixels import normalise
from vtool.families.positions import mm_token_type_ids
from vtool.families.text import TextCodec
from vtool.media import Clip
from vtool.message import Show
from vtool.record import Episode
from vtool.shipped import shipped
from vtool.store import Origin
from vtool.token_render import TokenRenderer

EVEN = (10.0, 10.5, 11.0, 11.5, 12.0)
"""Five frames: the last temporal unit is filled up."""
UNEVEN = (3.0, 3.2, 5.0, 5.1, 9.4, 9.5)


def film(times=EVEN, size=(48, 32), seed=0):
    return Clip(tuple(picture(*size, 100 * seed + i) for i in range(len(times))), times)


@cache
def video_renderer(name="qwen3_vl", clips="video", **options):
    codec = TextCodec.load(shipped("tiny/weak"))
    family = policy(name).vlm.family
    return TokenRenderer(
        family, codec, make_dialect("hermes"), announce=False, clips=clips, **options
    )


def film_episode(renderer, times=(EVEN, UNEVEN), seed=0):
    """A picture and a clip are asked about; a crop and more clips come back."""
    episode = Episode(task_id="film", seed=seed)
    store = episode.store
    store.add(picture(48, 32, seed))
    store.add(film(times[0], seed=seed))
    context = episode.open("policy")
    asked = question(Show("image_1"), Show("clip_1"), "When?")
    for segment in renderer.begin([asked], (), store):
        context.append(segment)
    for turn, of in enumerate(times[1:], start=1):
        act = say(renderer, context, zoom_text(), seed=seed * 7 + turn)
        crop = store.add(picture(32, 48, seed + turn), Origin("image_1", "zoom"))
        clip = store.add(film(of, (32, 32), seed + turn), Origin("clip_1", "resample"))
        shown = observation(Show(crop.handle), Show(clip.handle), call=act.action.calls[0])
        for segment in renderer.extend(context, [shown]):
            context.append(segment)
    say(renderer, context, answer_text(), seed=seed * 7 + 50)
    episode.answer = "7"
    return episode


def library_logits(vlm, prompt, seconds):
    """The plain library's forward over one prompt: its own positions, its own vision path.

    Args:
        vlm: The model.
        prompt: What is read.
        seconds: Seconds between temporal units of each clip (Qwen2.5-VL).
    """
    vlm.model.model.rope_deltas = None
    ids = torch.from_numpy(prompt.ids).long()[None]
    stills = [p.patches for p in prompt.pictures if not p.video]
    clips = [p.patches for p in prompt.pictures if p.video]
    raw = [torch.cat([torch.tensor(p.data) for p in of]) for of in (stills, clips)]
    types = mm_token_type_ids(prompt.ids[None], vlm.image_token_id, vlm.video_token_id)
    grids = [torch.tensor([p.grid for p in of]) for of in (stills, clips)]
    if vlm.family.frames_apart:
        grids[1] = joined(prompt, grids[1])
        extra = {}
    else:
        extra = {"second_per_grid_ts": torch.tensor(seconds)}
    with torch.no_grad():
        return vlm.model(
            input_ids=ids,
            pixel_values=normalise(raw[0], vlm.family.spec),
            image_grid_thw=grids[0],
            pixel_values_videos=normalise(raw[1], vlm.family.spec),
            video_grid_thw=grids[1],
            mm_token_type_ids=torch.from_numpy(types),
            **extra,
        ).logits[0]


def joined(prompt, grids):
    """Temporal units that stand apart, as the clips that the library knows: by their size."""
    clips, last = [], None
    for grid, picture_ in zip(grids.tolist(), [p for p in prompt.pictures if p.video], strict=True):
        beside = last is not None and picture_.run.start - last < 20
        if beside and clips[-1][1:] == grid[1:]:
            clips[-1][0] += grid[0]
        else:
            clips.append(list(grid))
        last = picture_.run.start + picture_.run.length
    return torch.tensor(clips)
