"""Warm start: teacher transcripts become targets, and learning them lowers their NLL."""

import dataclasses
import json

import numpy as np
import pytest
from scripts import observation, picture, plain_renderer, question, toy_episode
from toy_policy import policy, renderer
from toy_run import toy_recipe, trained
from vtool.rl.learner import LearnerSettings
from vtool.rl.metrics_log import read_metrics
from vtool.rl.train import train
from vtool.rl.warmstart import encode_context, good_episodes, teacher_samples

from vtool.errors import DataError, VToolError
from vtool.message import Action, Author, Message, Role, Show, Text, ToolCall
from vtool.record import Episode, Fork, Segment, StopReason
from vtool.reward import Score, Unscored
from vtool.shipped import shipped
from vtool.store import Origin
from vtool.trace import TraceRecord, read_trace, write_trace


def said(text, *calls, answer=None):
    action = Action(text=text, thought=text, calls=calls, answer=answer)
    return Message(role=Role.ASSISTANT, parts=(Text(text),), author=Author.TEACHER, action=action)


def transcript(answer="7", seed=0):
    """A teacher's episode as an API engine would leave it: messages, no tokens."""
    episode = Episode(task_id="t", stop=StopReason.ANSWERED, answer=answer)
    episode.store.add(picture(seed=seed))
    crop = episode.store.add(picture(32, 32, seed + 1), Origin(parent="image_1", tool="zoom"))
    context = episode.open("policy")
    call = ToolCall("zoom", {"image": 1, "box": [100, 200, 300, 400]})
    for author, turn, message in (
        (Author.USER, 0, question(Show("image_1"), "What digit is it?")),
        (Author.TEACHER, 0, said("I look closer.", call)),
        (Author.TOOL, 0, observation(Show(crop.handle), call=call)),
        (Author.TEACHER, 1, said(f"It is {answer}.", answer=answer)),
    ):
        context.append(Segment(author=author, turn=turn, messages=(message,)))
    return episode


def test_a_transcript_without_tokens_becomes_tokens_of_the_policy():
    encoded = encode_context(transcript().contexts[0], renderer())
    authors = [s.author for s in encoded.segments if len(s)]
    assert authors.count(Author.TEACHER) == 2
    assert Author.POLICY not in authors
    words = renderer().codec.decode(encoded.ids()[encoded.mask(Author.TEACHER)].tolist())
    assert "zoom" in words
    assert "<answer>7</answer>" in words
    assert "What digit" not in words


def test_targets_are_the_teachers_words():
    (sample,) = teacher_samples([transcript()], renderer(), policy().vlm.family)
    encoded = encode_context(transcript().contexts[0], renderer())
    assert sample.target.tolist() == encoded.mask(Author.TEACHER).tolist()
    assert len(sample.pictures) == 2
    assert not sample.old_logp.any()


def test_what_the_policy_said_elsewhere_is_a_teachers_here():
    """Another dialect, another tokenizer: the words are learnt, not the old ids."""
    foreign = toy_episode(plain_renderer("inline"), turns=2)
    (sample,) = teacher_samples([foreign], renderer(), policy().vlm.family)
    words = renderer().codec.decode(sample.ids[sample.target].tolist())
    assert "<tool_call>" in words
    assert "<grounding>" not in words


def test_a_forks_prefix_is_taught_in_the_parent_only():
    episode = transcript()
    fork = episode.open("policy", edge=Fork(0, at=3))
    fork.append(Segment(author=Author.TEACHER, turn=1, messages=(said("No: 8.", answer="8"),)))
    parent, child = teacher_samples([episode], renderer(), policy().vlm.family)
    assert parent.target.sum() > child.target.sum() > 0
    assert "zoom" not in renderer().codec.decode(child.ids[child.target].tolist())
    assert np.array_equal(parent.ids[:20], child.ids[:20])


def test_other_seats_and_silent_contexts_teach_nothing():
    episode = transcript()
    assert not teacher_samples([episode], renderer(), policy().vlm.family, seat="judge")
    mute = Episode(task_id="t")
    mute.open("policy").append(Segment(author=Author.USER, turn=0, messages=(question("hm"),)))
    assert not teacher_samples([mute], renderer(), policy().vlm.family)


def test_which_episodes_are_good():
    kept = transcript()
    lost = dataclasses.replace(transcript(), stop=StopReason.FAILED)
    records = [
        TraceRecord(kept, Score({}, 1.0)),
        TraceRecord(lost, Score({}, 1.0)),
        TraceRecord(transcript(), Score({}, 0.2)),
        TraceRecord(transcript(), Score({}, Unscored("no judge"))),
        TraceRecord(transcript(), None),
    ]
    assert len(good_episodes(records, None)) == 4
    assert good_episodes(records, 0.5) == [kept]


@pytest.fixture
def trace(tmp_path):
    folder = tmp_path / "teacher"
    write_trace(folder, [TraceRecord(transcript(str(i), i)) for i in range(6)])
    return folder


def imitation(trace, **changes):
    learner = LearnerSettings(lr=1e-3, batch_tokens=512)
    return toy_recipe(kind="imitate", trace=str(trace), prompts=3, learner=learner, **changes)


def test_a_run_of_imitation_lowers_the_nll_and_resumes_bit_for_bit(trace, tmp_path):
    train(imitation(trace, steps=8, checkpoint_every=3), tmp_path / "whole")
    nll = [m["nll"] for m in read_metrics(tmp_path / "whole")]
    assert nll[-1] < 0.8 * nll[0]
    train(imitation(trace, steps=3, checkpoint_every=3), tmp_path / "parts")
    train(imitation(trace, steps=8, checkpoint_every=3), tmp_path / "parts")
    assert trained(tmp_path / "parts") == trained(tmp_path / "whole")


def test_episodes_of_tools_that_kept_state_are_not_taken_by_those_that_do_not(trace, tmp_path):
    records = list(read_trace(trace))
    records[1].episode.runtime = {**records[1].episode.runtime, "persistent": True}
    write_trace(tmp_path / "mixed", records)
    with pytest.raises(VToolError, match="kept state between calls"):
        train(imitation(tmp_path / "mixed"), tmp_path / "run")


def test_an_empty_trace_is_refused(tmp_path):
    write_trace(tmp_path / "empty", [])
    with pytest.raises(DataError, match="no episode in it can be learnt from"):
        train(imitation(tmp_path / "empty"), tmp_path / "run")


# ------------------------------------------------------------------------------ stages


def staged(**changes):
    return toy_recipe(
        name="staged",
        model="tiny/clean" if (shipped("tiny/clean")).is_dir() else "tiny/weak",
        stages=(
            {"kind": "sample", "steps": 2, "group_size": 4},
            {"kind": "imitate", "steps": 2, "prompts": 2},
            {"kind": "rl", "name": "reinforce", "steps": 1, "learner": {"lr": 1e-4}},
        ),
        **changes,
    )


def test_stages_hand_on_episodes_tasks_and_weights(tmp_path):
    result = train(staged(), tmp_path)
    assert result.finished
    assert result.out == tmp_path / "03-reinforce"
    sampled, imitated = tmp_path / "01-sample", tmp_path / "02-imitate"
    recipes = {p.name: json.loads((p / "recipe.json").read_text()) for p in (imitated, result.out)}
    assert recipes["02-imitate"]["trace"] == str(sampled / "kept")
    assert recipes["03-reinforce"]["data"]["ids"] == str(sampled / "ids.txt")
    assert recipes["03-reinforce"]["learner"]["lr"] == 1e-4
    assert recipes["03-reinforce"]["learner"]["batch_tokens"] == 256
    ids = (sampled / "ids.txt").read_text().split()
    assert ids, "no task of the toy world was solved sometimes but not always"
    before = trained(imitated), trained(result.out)
    assert before[0] != before[1]
    again = train(staged(), tmp_path)
    assert again.finished
    assert (trained(imitated), trained(again.out)) == before


def test_a_stage_that_is_stopped_is_resumed(tmp_path):
    import os
    import signal

    def stop(number, metrics):
        if "nll" in metrics and number == 1:
            os.kill(os.getpid(), signal.SIGTERM)

    stopped = train(staged(), tmp_path / "parts", on_step=stop)
    assert stopped.exit_code == 143
    assert stopped.out.name == "02-imitate"
    train(staged(), tmp_path / "parts")
    train(staged(), tmp_path / "whole")
    assert trained(tmp_path / "parts" / "03-reinforce") == trained(tmp_path / "whole/03-reinforce")
