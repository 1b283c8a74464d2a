"""The tiny policy's demonstrations and the renderer give one stream of tokens."""

from pathlib import Path

import numpy as np
import pytest
from scripts import completion, observation, question

pytest.importorskip("torch")

from vtool.rl.tiny import expert, tokenizer
from vtool.rl.tiny.spec import SPEC

from vtool.check_renderer import check_renderer
from vtool.dialects import make_dialect
from vtool.families import family
from vtool.families.text import TextCodec
from vtool.media import Image
from vtool.message import Author, Message, Role, Show, Text
from vtool.pairs import load_renderer
from vtool.record import Context, Sampling
from vtool.store import Store
from vtool.token_render import TokenRenderer
from vtool.worlds import zoom as world


@pytest.fixture(scope="module")
def scribe():
    return expert.Scribe(tokenizer.train(expert.example_texts(20)))


@pytest.fixture(scope="module")
def renderer(scribe):
    codec = TextCodec(scribe.tokenizer)
    tiny = family("qwen3_vl").with_spec(SPEC)
    return TokenRenderer(tiny, codec, make_dialect("hermes"), announce=False)


def transcript(demo, steps, store):
    """The demonstration as messages."""
    handles = [store.add(Image(np.array(view))).handle for view in demo.views]
    messages = [question(Show(handles[0]), demo.scene.question)]
    for i, step in enumerate(steps):
        if i:
            messages.append(observation(Show(handles[i])))
        said = (Text(step.text),)
        messages.append(Message(role=Role.ASSISTANT, parts=said, author=Author.TEACHER))
    return messages


@pytest.mark.parametrize("kind", list(world.Kind))
@pytest.mark.parametrize("seed", range(3))
def test_encoded_demonstrations_are_the_experts_tokens(scribe, renderer, kind, seed):
    scene = world.draw(seed, kind=kind)
    steps, views = expert.steps(scene, np.random.default_rng(seed))
    demo, store = scribe.write(scene, steps, views), Store()
    context = Context(0, "policy", store)
    for segment in renderer.encode(transcript(demo, steps, store), (), store):
        context.append(segment)
    np.testing.assert_array_equal(context.ids(), demo.ids)
    np.testing.assert_array_equal(context.mask(Author.TEACHER), demo.learn)
    assert len(renderer.prompt(context).pictures) == len(views)


def test_a_sampled_episode_is_the_same_stream(scribe, renderer):
    scene = world.draw(5, kind=world.Kind.TWO)
    steps, views = expert.steps(scene, np.random.default_rng(5))
    demo, store = scribe.write(scene, steps, views), Store()
    messages = transcript(demo, steps, store)
    context = Context(0, "policy", store)
    for segment in renderer.begin(messages[:1], (), store):
        context.append(segment)
    for i, step in enumerate(steps):
        if i:
            for segment in renderer.extend(context, [messages[2 * i]]):
                context.append(segment)
        context.append(renderer.next(context, completion(renderer, step.text), Sampling()).segment)
    np.testing.assert_array_equal(context.ids(), demo.ids)
    np.testing.assert_array_equal(context.mask(), demo.learn)


@pytest.mark.parametrize("start", ["clean", "weak"])
def test_the_shipped_policies_pass_the_check(start):
    shipped = load_renderer(Path(__file__).parent.parent / "assets" / "tiny" / start)
    assert shipped.family.spec == SPEC
    assert shipped.name == "qwen3_vl/hermes"
    check_renderer(shipped)
