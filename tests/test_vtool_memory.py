"""Memory: what is shown when a window folds, and the path that folds and forks leave."""

import numpy as np

from vtool.media import Image
from vtool.memory import Window
from vtool.message import Action, Author, Message, Role, Show, Text
from vtool.record import Episode, Fold, Fork, Segment


def say(author, role, *parts, turn=0, action=None):
    message = Message(role=role, author=author, parts=parts, action=action)
    return Segment(author=author, turn=turn, messages=(message,))


def act(text, turn=0):
    return say(Author.TEACHER, Role.ASSISTANT, turn=turn, action=Action(text))


def picture(episode, seed):
    rng = np.random.default_rng(seed)
    return episode.store.add(Image(rng.integers(0, 255, (20, 20, 3), dtype=np.uint8))).handle


def fold(episode, context, memory):
    view = memory.view(episode, context)
    if view is None:
        return context, False
    after = episode.open("policy", edge=Fold(context.number))
    after.append(Segment(author=Author.USER, turn=0, messages=tuple(view)))
    return after, True


def test_a_window_folds_only_when_full_and_counts_what_it_put_away():
    episode, memory = Episode(task_id="a"), Window(2)
    context = episode.open("policy")
    context.append(say(Author.USER, Role.USER, Show(picture(episode, 0)), Text("q")))
    folds, texts = [], []
    for step in range(1, 6):
        turn = context.turn
        context.append(act("look", turn))
        shown = Show(picture(episode, step))
        context.append(say(Author.TOOL, Role.TOOL, shown, turn=turn))
        context, folded = fold(episode, context, memory)
        folds.append(folded)
        texts.append("".join(m.text for m in context.messages()))
    assert folds == [False, True, True, True, True]
    assert [t.count("earlier views") for t in texts] == [0, 1, 1, 1, 1]  # told once, not piled up
    assert "(4 earlier views" in texts[-1]
    assert [s.handle for m in context.messages() for s in m.shows] == ["image_1", "image_6"]
    assert memory.view(episode, context) is None  # nothing new: nothing to fold


def test_the_path_of_a_fork_of_a_fold_goes_back_to_the_start():
    episode = Episode(task_id="a")
    episode.open("policy").append(act("before"))
    episode.open("policy", edge=Fold(0)).append(act("after"))
    episode.open("policy", edge=Fork(1, 1))
    assert [a.text for a in episode.actions()] == ["before", "after"]
