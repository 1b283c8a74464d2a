"""The faster walk through the language models equals the library's own."""

import dataclasses

import pytest
import torch
from tiny_vlm import NAMES, batch, build, conversation, pictures, shared
from torch.nn.modules.module import register_module_forward_hook

from vtool.engines.attention import lean_attention
from vtool.engines.kv import KVBuffer
from vtool.families import vlm as rooms
from vtool.families.adapters import AdapterSpec, add_adapter
from vtool.families.stack import walks

torch.set_num_threads(1)
SIZES = [(64, 64), (96, 32)]


@pytest.fixture(params=NAMES)
def vlm(request):
    return shared(request.param)


def talk(vlm):
    """Two rows with pictures, right-padded."""
    a, b = pictures(vlm, SIZES)
    rows = [
        conversation(vlm, [(5, [a, b], 4), (3, [], 2)], seed=1),
        conversation(vlm, [(2, [b], 3)], seed=2),
    ]
    ids, positions, _ = batch(vlm, rows)
    return ids, positions, [a, b, b]


def causal(length, past=0):
    """A mask as engines make it: bool (1, 1, L, past + L)."""
    return torch.ones(length, past + length, dtype=torch.bool).tril(past)[None, None]


def both(vlm, monkeypatch, compute):
    """What `compute` gives by the walk and by the library; each way was really taken."""
    taken = []
    real = rooms.walk

    def counted(*args):
        taken.append(1)
        return real(*args)

    monkeypatch.setattr(rooms, "walk", counted)
    ours = compute()
    assert taken
    monkeypatch.setattr(rooms, "walks", lambda *args: False)
    before = len(taken)
    theirs = compute()
    assert len(taken) == before
    return ours, theirs


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16], ids=str)
@pytest.mark.parametrize("masked", [False, True])
@pytest.mark.parametrize("name", NAMES)
def test_hidden_states_are_the_librarys(name, masked, dtype, monkeypatch):
    vlm = build(name)
    for parameter in vlm.parameters():
        parameter.data = parameter.data.to(dtype)
    ids, positions, patches = talk(vlm)
    mask = causal(ids.shape[1]).expand(len(ids), -1, -1, -1) if masked else None

    def compute():
        vision = vlm.encode(patches)
        return vlm.hidden(ids, positions, attention_mask=mask, vision=vision)

    ours, theirs = both(vlm, monkeypatch, compute)
    assert ours.float().std() > 0.05
    assert torch.equal(ours, theirs)


@pytest.mark.parametrize("name", NAMES)
def test_gradients_are_the_librarys(name, monkeypatch):
    vlm = build(name)
    ids, positions, patches = talk(vlm)

    def compute():
        vlm.zero_grad()
        vlm.hidden(ids, positions, vision=vlm.encode(patches)).square().sum().backward()
        return {n: p.grad.clone() for n, p in vlm.named_parameters() if p.grad is not None}

    ours, theirs = both(vlm, monkeypatch, compute)
    assert ours.keys() == theirs.keys()
    # To the bit but for the norms of queries and keys, whose sums run in another order.
    turned = {n for n in ours if not torch.equal(ours[n], theirs[n])}
    assert all(n.endswith(("q_norm.weight", "k_norm.weight")) for n in turned)
    assert all(torch.allclose(ours[n], theirs[n], rtol=1e-5, atol=1e-7) for n in turned)


@pytest.mark.parametrize("count", [1, 2, 4])
@pytest.mark.parametrize("deep", [False, True])
@pytest.mark.parametrize("walked", [False, True])
@pytest.mark.parametrize("name", NAMES)
def test_what_is_asked_for_alone_is_what_it_is_among_all(name, walked, deep, count, monkeypatch):
    vlm = build(name)
    ids, positions, patches = talk(vlm)
    if deep:  # features for more layers than there are after the first
        vlm.language.layers = vlm.language.layers[:1]
    if not walked:
        monkeypatch.setattr(rooms, "walks", lambda *args: False)
    at = torch.tensor([ids.numel() - 1, 3, ids.shape[1], 0][:count])

    def compute(**asked):
        vlm.zero_grad()
        out = vlm.hidden(ids, positions, vision=vlm.encode(patches), **asked)
        out = out if asked else out.reshape(-1, out.shape[-1])[at]
        (out * torch.linspace(-1, 2, out.shape[-1])).sum().backward()
        return out, {n: p.grad.clone() for n, p in vlm.named_parameters() if p.grad is not None}

    (some, slopes), (whole, wanted) = compute(at=at), compute()
    assert torch.allclose(some, whole, rtol=1e-5, atol=1e-5)
    assert slopes.keys() == wanted.keys()
    for n, slope in wanted.items():
        assert (slopes[n] - slope).norm() <= 1e-4 * slope.norm() + 1e-7, n


@pytest.mark.parametrize("lean", [False, True])
def test_decoding_on_a_buffer_is_the_librarys(vlm, lean, monkeypatch):
    ids, positions, patches = talk(vlm)
    rows, length = ids.shape

    def compute():
        cache = KVBuffer.empty(vlm.kv_shape, rows, length + 4, vlm.dtype, vlm.device)
        out = []
        with torch.inference_mode():
            mask = causal(length).expand(rows, -1, -1, -1)
            first = vlm.hidden(
                ids, positions, attention_mask=mask, vision=vlm.encode(patches), cache=cache
            )
            out.append(first)
            cache.advance(length)
            for step in range(3):
                seen = torch.ones(rows, 1, 1, length + step + 1, dtype=torch.bool)
                seen[0, ..., 3] = False
                at = positions.amax(-1, keepdim=True) + 1 + step
                token = ids[:, :1] + step
                out.append(vlm.hidden(token, at, attention_mask=seen, cache=cache))
                cache.advance(1)
        return torch.cat([o.flatten() for o in out] + [cache.data.flatten()])

    if lean:
        with lean_attention(vlm):
            ours, theirs = both(vlm, monkeypatch, compute)
    else:
        ours, theirs = both(vlm, monkeypatch, compute)
    assert torch.equal(ours, theirs)


def test_adapters_are_called(monkeypatch):
    pytest.importorskip("peft")
    vlm = build("qwen3_vl")
    add_adapter(vlm, AdapterSpec(rank=2))
    with torch.no_grad():
        for name, weight in vlm.named_parameters():
            if "lora_B" in name:
                weight.fill_(0.1)
    ids, positions, patches = talk(vlm)

    def compute():
        return vlm.hidden(ids, positions, vision=vlm.encode(patches))

    ours, theirs = both(vlm, monkeypatch, compute)
    assert torch.equal(ours, theirs)


@pytest.mark.parametrize("place", ["q_proj", "q_norm", "input_layernorm"])
def test_who_listens_to_a_part_is_told(place):
    vlm = build("qwen3_vl")
    ids, positions, _ = batch(vlm, [conversation(vlm, [(6, [], 4)])])
    layer = vlm.language.layers[0]
    part = getattr(layer, place, None) or getattr(layer.self_attn, place)
    heard = []
    part.register_forward_hook(lambda *args: heard.append(1))
    vlm.hidden(ids, positions)
    assert heard == [1]


def test_who_listens_to_every_module_is_told():
    vlm = build("qwen3_vl")
    heard = set()
    handle = register_module_forward_hook(lambda module, *rest: heard.add(type(module).__name__))
    try:
        ids, positions, _ = batch(vlm, [conversation(vlm, [(6, [], 4)])])
        vlm.hidden(ids, positions)
    finally:
        handle.remove()
    assert {"Qwen3VLTextDecoderLayer", "Linear"} <= heard
    assert walks(vlm.language, None, None)


@dataclasses.dataclass(frozen=True)
class Case:
    """A model as it should not be walked."""

    spoil: object
    training: bool = False


def hooked(vlm):
    vlm.language.layers[1].mlp.register_forward_hook(lambda *args: None)


def sliding(vlm):
    vlm.language.layers[0].self_attn.sliding_window = 4


def checkpointed(vlm):
    vlm.language.gradient_checkpointing_enable({"use_reentrant": False})


def dropping(vlm):
    vlm.language.layers[0].self_attn.attention_dropout = 0.5


def eager(vlm):
    vlm.model.set_attn_implementation("eager")


def subclassed(vlm):
    layer = vlm.language.layers[0]
    layer.__class__ = type("Sharded", (type(layer),), {})


CASES = {
    "hooked": Case(hooked),
    "sliding": Case(sliding),
    "checkpointed": Case(checkpointed, training=True),
    "dropping": Case(dropping, training=True),
    "eager": Case(eager),
    "subclassed": Case(subclassed),
}


@pytest.mark.parametrize("case", CASES.values(), ids=CASES)
def test_what_it_does_not_know_goes_the_librarys_way(case):
    vlm = build("qwen3_vl")
    vlm.train(case.training)
    assert walks(vlm.language, None, None)
    case.spoil(vlm)
    assert not walks(vlm.language, None, None)


def test_masks_that_the_library_makes_are_left_to_it(vlm):
    flat = torch.ones(2, 6)
    assert not walks(vlm.language, flat, None)
    assert not walks(vlm.language, None, object())
    assert walks(vlm.language, causal(6), object())
