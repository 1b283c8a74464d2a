"""What a guard is replaced by where a constant would only make its caller stumble.

Each does what a careless implementation does, so that the run goes on and gives a wrong answer.
"""

import ast
import json

import numpy as np

from vtool.errors import FaultCode, ModelFault


def repairing_decode(text):
    """Mends JSON by guessing: Python literals, missing brackets, missing keys."""
    value = {}
    for end in ("", "}", "1}"):
        for read in (json.loads, ast.literal_eval):
            try:
                value = value or read(text.strip() + end)
            except (ValueError, SyntaxError):
                continue
    call = {"name": "zoom", "arguments": {}} | dict(value)
    return json.loads(json.dumps(call)), len(text)


def bad_json_without_a_place(what, text, at):
    """Says that it is wrong, not where."""
    return ModelFault(FaultCode.BAD_JSON, "bad JSON")


def first_offer(self, call):
    """Takes the first tool for whatever was named."""
    return next(iter(self._offers.values()))


def names_as_they_come(call, tool, names):
    """Drops arguments that it does not know, and makes up those that are missing."""
    known = {names.get(k, k): v for k, v in call.arguments.items()}
    kept = {k: v for k, v in known.items() if tool.spec.param(k)}
    return {"image": 1, "box": [0, 0, 1000, 1000]} | kept


def encoded_again(completion):
    """Writes down what the text would be encoded to."""
    *said, stop = completion.ids
    text = bytes(said).decode("utf-8", errors="replace")
    return np.array([*text.encode(), stop], np.int32)


def ungrown(low, high, limit):
    """Cuts however little was asked for."""
    return low, high


def unmapped(self, shape):
    """Takes a place on the child for the same place on the parent."""
    return shape


def all_tokens(self, *authors):
    """Trains on everything."""
    return np.ones(len(self), dtype=bool)


def marks_as_they_come(part, episode, marks):
    """Believes every number."""
    return marks


def minus_mean(group):
    """Takes a rounding error for a difference."""
    return group - group.mean()


def zero_for_nothing(scores):
    """Takes what nobody could score for a failure."""
    return np.zeros(len(scores)), np.ones(len(scores), bool)


def first_letter(answer, options):
    """Takes the first letter that stands anywhere for the choice."""
    return next((ord(c) - ord("A") for c in answer or "" if "A" <= c <= "Z"), None)


def last_number_anywhere(episode):
    """Takes the answer from wherever a number stands last, a tool's words included."""
    words = " ".join(m.text for m in episode.path_messages()).split()
    return next((w for w in reversed(words) if w.isdigit()), None)


def paid_anyway():
    """Pays for calls whatever the answer."""
    from vtool.reward import Score

    return lambda parts: Score(parts, 0.8 * parts["answer"] + 1.2 * parts["tool_used"])


def answers_as_they_come(where, line, said, wanted):
    """Takes what is given for an answer."""
    return (line.answer,)


def zipped_iou(named, wanted):
    """Compares boxes in order, as far as both go."""
    from vtool.geometry import iou

    return sum(iou(a, b) for a, b in zip(named, wanted, strict=False))
