"""Fault F8: a gradient that is not finite."""

import dataclasses

import numpy as np
import torch
from toy_policy import new_policy, samples
from vtool.rl.learner import Learner, LearnerSettings


def f8():
    """One poisoned step: skipped, counted, and no weight touched."""
    learner = Learner(new_policy(), LearnerSettings(), 2)
    first, *rest = samples()
    huge = dataclasses.replace(first, advantage=np.full_like(first.advantage, 3e38))
    before = learner.policy.snapshot()
    found = learner.step([huge, *rest])
    intact = all(torch.equal(p, before[n]) for n, p in learner.policy.named())
    return f"{'skipped' if found['skipped'] else 'taken'}, weights {'kept' if intact else 'lost'}"
