"""The vertical slice, second half: what needs a model. One test a point, on the tiny policy."""

import asyncio
from pathlib import Path

import pytest
import torch
from vtool.eval.run import Settings, evaluate
from vtool.rl.aggregate import Mode
from vtool.rl.batch import make_sample
from vtool.rl.group_advantage import group_credits, tree_credits, tree_nodes
from vtool.rl.learner import Learner, LearnerSettings
from vtool.rl.policy import Policy
from vtool.vision_tools.zoom import zoom

from vtool.combine import weighted
from vtool.engines.hf import HFEngine
from vtool.environment import Limits, ToolEnvironment
from vtool.families.vlm import VLM
from vtool.geometry import Box
from vtool.media import Image
from vtool.message import Action, Author, Message, Role, Text, ToolCall
from vtool.pairs import load_renderer
from vtool.programs.branch import branch
from vtool.programs.solo import play
from vtool.record import Episode, Sampling
from vtool.reward import Score, parts
from vtool.scheduler import run_all
from vtool.scoring import score_group
from vtool.seat import Seat
from vtool.store import Store
from vtool.task import Answer, Evidence, Task
from vtool.toolbox import Toolbox
from vtool.worlds.zoom import draw

FOLDER = Path(__file__).parent.parent / "assets" / "tiny" / "weak"
LIMITS = Limits(max_turns=3)


@pytest.fixture
def vlm():
    return VLM.load(FOLDER)


@pytest.fixture(scope="module")
def renderer():
    return load_renderer(FOLDER)


def task(seed):
    scene = draw(seed)
    return Task(
        id=str(seed),
        prompt=(Image(scene.pixels), scene.question),
        reference=Answer((scene.answer,)),
        evidence=(Evidence(0, Box(0.2, 0.2, 0.4, 0.4)),),
    )


def environment(of):
    return ToolEnvironment(of, Toolbox([zoom]), LIMITS)


def attempts(engine, renderer, of, count):
    seat = Seat("policy", renderer, engine, Sampling(max_tokens=60))
    jobs = [lambda i=i: play(environment(of), {"policy": seat}, key=(3, i)) for i in range(count)]
    return asyncio.run(run_all(jobs, engine=engine))


def test_grpo_one_step_publish_and_the_next_version(vlm, renderer):
    engine = HFEngine(vlm)
    group = attempts(engine, renderer, task(1), 6)
    assert {s.version for e in group for s in e.final.segments if s.version is not None} == {0}
    scores = [Score({}, float(i % 2)) for i in range(6)]
    credits = group_credits(group, scores)
    samples = [make_sample(c.context, renderer, vlm.family, c.segments) for c in credits]
    learner = Learner(Policy(vlm), LearnerSettings(lr=1e-3), steps=1)
    before = learner.policy.snapshot()
    metrics = learner.step(samples)
    assert metrics["mismatch_max"] < 1e-4
    assert learner.policy.distance(before) == pytest.approx(metrics["step_distance"]) != 0
    engine.update((), version=1)
    again = attempts(engine, renderer, task(1), 2)
    assert {s.version for e in again for s in e.final.segments if s.version is not None} == {1}


def test_an_episode_that_spans_two_weight_versions(vlm, renderer):
    """Weights change between two turns; the context's log-probs are each their version's."""
    engine = HFEngine(vlm)

    def publish(episode, context):
        if context.segments[-1].author is Author.TOOL and engine.version == 0:
            with torch.no_grad():
                vlm.language.norm.weight.mul_(1.5)
            engine.update((), version=1)

    seat = Seat("policy", renderer, engine, Sampling(max_tokens=60))
    for key in range(20):
        fresh = play(environment(task(2)), {"policy": seat}, key=(key,), watch=publish)
        episode = asyncio.run(fresh)
        versions = [s.version for s in episode.final.segments if s.author is Author.POLICY]
        if len(versions) > 1:
            break
    assert versions[:2] == [0, 1]


def test_a_teacher_transcript_becomes_a_warm_start_loss(vlm, renderer):
    store = Store()
    of = task(3)
    env = environment(of)
    opening = asyncio.run(env.reset())
    store = env.store
    calls = (ToolCall("zoom", {"image": 1, "box": [200, 200, 400, 400]}),)
    look = Action("", "The red circle is here.", calls)
    crop = asyncio.run(
        env.reply(look, Episode(task_id="t").open("x", store=store), renderer.dialect)
    )
    say = Action("", "It is clear now.", (), of.reference.texts[0])
    turns = [*opening, assistant(look), *crop.messages, assistant(say)]
    context = Episode(task_id=of.id, store=store).open("policy", store=store)
    for segment in renderer.encode(turns, env.specs, store):
        context.append(segment)
    assert context.mask(Author.POLICY).sum() == 0
    sample = make_sample(context, renderer, vlm.family, authors=(Author.TEACHER,))
    learner = Learner(Policy(vlm), LearnerSettings(lr=1e-3, aggregation=Mode.TOKEN_MEAN), steps=5)
    losses = [learner.imitate([sample])["nll"] for _ in range(5)]
    assert losses[-1] < losses[0]


def assistant(action):
    return Message(role=Role.ASSISTANT, parts=(Text(""),), author=Author.TEACHER, action=action)


def test_a_fork_relative_advantage_on_a_tree(vlm, renderer):
    """A shared step is learnt from once, in the context that wrote it; siblings sum to zero."""
    engine = HFEngine(vlm)
    seat = Seat("policy", renderer, engine, Sampling(max_tokens=60))
    for key in range(20):
        tree = asyncio.run(
            branch(environment(task(4)), {"policy": seat}, key=(key,), after=1, width=3)
        )
        if len(tree.contexts) == 3:
            break
    nodes = tree_nodes(tree)
    assert [n.parent for n in nodes] == [-1, 0, 0, 0]
    scores = {c.number: Score({}, float(c.number == 1)) for c in tree.contexts}
    credits = tree_credits(tree, scores, fork_weight=1.0)
    samples = [make_sample(c.context, renderer, vlm.family, c.segments) for c in credits]
    trunk = tree.contexts[0]
    shared = nodes[0].end
    assert credits[0].segments[:shared] == (0.0,) * shared  # an only child
    own = [max(c.segments, key=abs) for c in credits]
    assert sum(own) == pytest.approx(0)
    assert own[1] > 0 > own[0]
    written = [
        len(segment)
        for c in tree.contexts
        for segment in c.segments[c.shared :]
        if segment.author is Author.POLICY
    ]
    assert sum(int(s.target.sum()) for s in samples) == sum(written)
    assert samples[0].target.sum() == trunk.mask().sum()


def test_evaluation_at_four_attempts(vlm, renderer):
    engine = HFEngine(vlm)
    settings = Settings(k=4, sampling=Sampling(max_tokens=60), limits=LIMITS)
    report = asyncio.run(
        evaluate(
            [task(5), task(6)],
            renderer=renderer,
            engine=engine,
            toolbox=Toolbox([zoom]),
            settings=settings,
        )
    )
    assert report.total.attempts == 8
    assert report.total.n == 2


def test_a_group_scored_by_attempt_and_group_parts_moves_the_policy(vlm, renderer):
    import vtool.rl.rewards  # noqa: F401

    engine = HFEngine(vlm)
    of = task(7)
    group = attempts(engine, renderer, of, 8)
    judges = [parts.get(n) for n in ("format", "evidence_iou", "curiosity_tool_rate")]
    combine = weighted({"format": 0.1, "evidence_iou": 1.0, "curiosity_tool_rate": 1.0})
    scores = score_group(group, of, judges, combine)
    credits = group_credits(group, scores, "dr_grpo")
    assert sum(max(c.segments, key=abs) for c in credits) == pytest.approx(0, abs=1e-9)
