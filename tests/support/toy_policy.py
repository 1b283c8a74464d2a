"""Random tiny models of both families with the shipped tokenizer, and episodes for them."""

import dataclasses
import json
from functools import cache
from pathlib import Path

import torch
from scripts import toy_episode
from vtool.rl.batch import make_sample
from vtool.rl.policy import Policy

from vtool.dialects import make_dialect
from vtool.families.text import TextCodec
from vtool.families.tiny_configs import CONTROL_IDS, random_config
from vtool.families.vlm import VLM
from vtool.shipped import shipped
from vtool.token_render import TokenRenderer

FAMILIES = ("qwen3_vl", "qwen25_vl")


def new_vlm(name="qwen3_vl", seed=0):
    """A fresh random model; equal calls give equal weights."""
    config = json.loads((shipped("tiny/weak") / "config.json").read_text())
    ids = {key: config[key] for key in CONTROL_IDS}
    torch.manual_seed(seed)
    size = config["text_config"]["vocab_size"]
    vlm = VLM.from_config(random_config(name, vocab_size=size, control_ids=ids))
    spec = dataclasses.replace(vlm.family.spec, min_pixels=1024, max_pixels=8192)
    vlm.family = vlm.family.with_spec(spec)
    return vlm


def new_policy(name="qwen3_vl", seed=0, **options):
    return Policy(new_vlm(name, seed), **options)


@cache
def policy(name="qwen3_vl"):
    """The same policy for every test that only reads it."""
    return new_policy(name)


@cache
def renderer(name="qwen3_vl"):
    codec = TextCodec.load(shipped("tiny/weak"))
    return TokenRenderer(policy(name).vlm.family, codec, make_dialect("hermes"), announce=False)


@cache
def episodes(name="qwen3_vl"):
    """Six scripted episodes of 1 to 3 turns; pictures of several sizes, one seen twice."""
    made = [toy_episode(renderer(name), turns=1 + i % 3, seed=i) for i in range(5)]
    return (*made, toy_episode(renderer(name), turns=2, seed=1))


def samples(name="qwen3_vl", credit=(0.5, -1.0, 2.0)):
    """One sample an episode; every policy token has an advantage."""
    return [
        make_sample(e.contexts[0], renderer(name), policy(name).vlm.family, credit[i % len(credit)])
        for i, e in enumerate(episodes(name))
    ]


def weights(folder: Path) -> bytes:
    return (folder / "model.safetensors").read_bytes()
