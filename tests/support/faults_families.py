"""Fault catalogue: a tokenizer that lacks a token, a checkpoint that wants to run code."""

import json

from tiny_vlm import shared
from tokenizers import Tokenizer, decoders, models, pre_tokenizers

from vtool.errors import CheckpointError
from vtool.families.text import TextCodec
from vtool.families.vlm import VLM


def c9(folder):
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    tokenizer = Tokenizer(models.BPE({c: i for i, c in enumerate(alphabet)}, []))
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.save(str(folder / "tokenizer.json"))
    try:
        TextCodec.load(folder, needs=["<|im_end|>"])
    except CheckpointError as err:
        return "start-up error naming it" if "<|im_end|>" in str(err) else str(err)
    return "started"


def f13(folder):
    """Good weights with a pickle beside them, and good weights with code to run."""
    pickled, coded = folder / "pickled", folder / "coded"
    for path in (pickled, coded):
        shared("qwen3_vl").save(path)
    (pickled / "pytorch_model.bin").write_bytes(b"\x80\x04N.")
    config = json.loads((coded / "config.json").read_text())
    config["auto_map"] = {"AutoConfig": "evil.Config"}
    (coded / "config.json").write_text(json.dumps(config))
    return ", ".join(opened(path) for path in (pickled, coded))


def opened(path):
    try:
        VLM.load(path)
    except CheckpointError:
        return "refused"
    return "loaded"
