"""From a decoded picture to patches: our processor against the library's, and against its floor.

    OMP_NUM_THREADS=1 python benchmarks/processor_parity.py

Six sizes, both families (factors 28 and 32), at most 1280 tokens a picture. Candidates, all on
the same decoded pixels, one thread, interleaved:

- `ours_uint8`: patches in uint8, one temporal slice (normalised later, on the device);
- `ours_f32`: the same and normalised here, so that the output is the library's `pixel_values`;
- `bound`: the resize alone, by `torch.nn.functional.interpolate` on a channels-last view;
- `bound_late_batch`: the same on `permute(2, 0, 1)[None]`, as it is commonly written: to torch
  that view is not channels-last, so it is copied and the output is planar;
- `hf_torchvision`: the library's processor, given a zero-copy uint8 tensor;
- `hf_torchvision_pil`: the same, given a PIL image; ratios are to the faster of the two;
- `hf_pil`: the library's fallback where torchvision is missing, given the array.

The torchvision peer runs where torchvision can be imported, on a CPU torch through the guarded
shim in `tests/support`; elsewhere it is missing and said to be. Outputs are compared inside.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import _timing
import numpy as np

SUPPORT = Path(__file__).parents[1] / "tests" / "support"
sys.path.insert(0, str(SUPPORT))

import torchvision_shim  # noqa: E402

torchvision_shim.install()

import PIL.Image  # noqa: E402
import torch  # noqa: E402
from pictures import textured  # noqa: E402
from transformers.models.qwen2_vl.image_processing_pil_qwen2_vl import (  # noqa: E402
    Qwen2VLImageProcessorPil,
)

from vtool.families import PixelSpec, family  # noqa: E402
from vtool.families.pixels import normalise, patches_of, smart_resize, tensor  # noqa: E402

SIZES = ((120, 90), (336, 336), (800, 600), (300, 2000), (2400, 1800), (4000, 3000))
MAX_PIXELS = 1280 * 28 * 28
EQUAL, F32_TARGET, UINT8_TARGET, BOUND_TARGET, SLACK = 1e-6, 1.4, 2.2, 1.7, 0.7


def peers(spec: PixelSpec) -> dict[str, Callable[[np.ndarray], Any]]:
    """The library's processors at the same settings, as functions of an RGB array."""
    settings = {
        "patch_size": spec.patch,
        "merge_size": spec.merge,
        "temporal_patch_size": spec.temporal,
        "size": {"shortest_edge": spec.min_pixels, "longest_edge": spec.max_pixels},
        "image_mean": list(spec.mean),
        "image_std": list(spec.std),
    }
    pil = Qwen2VLImageProcessorPil(**settings)
    found: dict[str, Callable[[np.ndarray], Any]] = {
        "hf_pil": lambda pixels: pil(images=[pixels], return_tensors="np")
    }
    if torchvision_shim.state() != "absent":
        from transformers.models.qwen2_vl.image_processing_qwen2_vl import Qwen2VLImageProcessor

        fast = Qwen2VLImageProcessor(**settings)
        found["hf_torchvision"] = lambda pixels: fast(
            images=[torch.from_numpy(pixels).permute(2, 0, 1)], return_tensors="pt"
        )
        found["hf_torchvision_pil"] = lambda pixels: fast(
            images=[PIL.Image.fromarray(pixels)], return_tensors="pt"
        )
    return found


def floor(pixels: np.ndarray, spec: PixelSpec, view: torch.Tensor) -> Callable[[], object]:
    """The resize of `view` alone; a copy where nothing is to be resized."""
    width, height = smart_resize((pixels.shape[1], pixels.shape[0]), spec)
    if view.shape[2:] == (height, width):
        return view.clone
    return lambda: torch.nn.functional.interpolate(
        view, size=(height, width), mode="bicubic", antialias=True
    )


def ours_f32(pixels: np.ndarray, spec: PixelSpec) -> torch.Tensor:
    return normalise(tensor(patches_of(pixels, spec).data), spec)


def case(name: str, size: tuple[int, int], seed: int, repeats: int) -> dict[str, Any]:
    """Times of every candidate on one picture, after their outputs were found equal."""
    spec = dataclasses.replace(family(name).spec, max_pixels=MAX_PIXELS)
    pixels = textured(*size, seed)
    others = peers(spec)
    differences = compare(pixels, spec, others)
    candidates: dict[str, Callable[[], object]] = {
        "ours_uint8": lambda: patches_of(pixels, spec),
        "ours_f32": lambda: ours_f32(pixels, spec),
        "bound": floor(pixels, spec, torch.from_numpy(pixels)[None].permute(0, 3, 1, 2)),
        "bound_late_batch": floor(pixels, spec, torch.from_numpy(pixels).permute(2, 0, 1)[None]),
    } | {peer: (lambda run=run: run(pixels)) for peer, run in others.items()}
    calls = max(1, int(0.02 / max(_once(candidates["ours_uint8"]), 1e-5)))
    times = _timing.interleave(
        {k: (lambda f=f: [f() for _ in range(calls)]) for k, f in candidates.items()},
        repeats=repeats,
    )
    return {
        "family": name,
        "size": size,
        "shown": smart_resize(size, spec),
        "calls_per_repeat": calls,
        "difference": differences,
        "cpu_s": {k: _timing.summary([t / calls for t in v]) for k, v in times.items()},
    }


def _once(work: Callable[[], object]) -> float:
    return min(_timing.interleave({"it": work}, repeats=2)["it"])


def compare(
    pixels: np.ndarray, spec: PixelSpec, others: Mapping[str, Callable[[np.ndarray], Any]]
) -> dict[str, float]:
    """Largest difference to each peer; asserted where it must vanish."""
    ours = patches_of(pixels, spec)
    mine = ours_f32(pixels, spec).numpy()
    found = {}
    for peer, run in others.items():
        out = run(pixels)
        assert tuple(np.asarray(out["image_grid_thw"])[0]) == ours.grid, peer
        found[peer] = float(np.abs(np.asarray(out["pixel_values"]) - mine).max())
    assert all(d <= EQUAL for peer, d in found.items() if peer != "hf_pil"), found
    return found


def ratio(cases: list[dict[str, Any]], over: str, under: str) -> dict[str, float]:
    """Geometric mean, least and largest of median times `over` / `under`.

    `over` is a prefix; where it names several candidates, the fastest counts.
    """
    values = []
    for c in cases:
        medians = {name: times["median"] for name, times in c["cpu_s"].items()}
        best = min(time for name, time in medians.items() if name.startswith(over))
        values.append(best / medians[under])
    return {
        "geometric_mean": float(np.exp(np.mean(np.log(values)))),
        "least": min(values),
        "largest": max(values),
    }


def table(cases: list[dict[str, Any]]) -> str:
    """Milliseconds a picture, one row a case."""
    names = list(cases[0]["cpu_s"])
    lines = ["family     size        " + "".join(f"{n:>20}" for n in names)]
    for c in cases:
        size = "x".join(map(str, c["size"]))
        ms = "".join(f"{c['cpu_s'][n]['median'] * 1e3:20.2f}" for n in names)
        lines.append(f"{c['family']:<11}{size:<12}{ms}")
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--repeats", type=int, default=9)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--strict", action="store_true", help="targets without slack")
    args = parser.parse_args()
    torch.set_num_threads(1)
    start = _timing.machine(("torch", "torchvision", "transformers", "numpy", "pillow"))
    cases = [
        case(name, size, args.seed, args.repeats)
        for name in ("qwen25_vl", "qwen3_vl")
        for size in SIZES
    ]
    peer = "hf_torchvision" if "hf_torchvision" in cases[0]["cpu_s"] else "hf_pil"
    resized = [c for c in cases if tuple(c["shown"]) != tuple(c["size"])]
    ratios = {
        "f32_speedup": ratio(cases, peer, "ours_f32"),
        "uint8_speedup": ratio(cases, peer, "ours_uint8"),
        "uint8_over_bound": ratio(resized, "ours_uint8", "bound"),
        "uint8_over_bound_late_batch": ratio(resized, "ours_uint8", "bound_late_batch"),
        "uint8_speedup_over_pil": ratio(cases, "hf_pil", "ours_uint8"),
    }
    payload = {
        "benchmark": "processor_parity",
        "seed": args.seed,
        "peer": peer,
        "torchvision": torchvision_shim.state(),
        "machine": start | {"capability": torch.backends.cpu.get_cpu_capability()},
        "targets": {
            "equal": EQUAL,
            "f32_speedup": F32_TARGET,
            "uint8_speedup": UINT8_TARGET,
            "uint8_over_bound": BOUND_TARGET,
        },
        "ratios": ratios,
        "cases": cases,
    }
    print(_timing.write("processor_parity", payload))
    print(f"peer: {peer} (torchvision {torchvision_shim.state()})")
    print(table(cases))
    print(json.dumps(ratios, indent=2))
    slack = 1.0 if args.strict else SLACK
    if peer == "hf_torchvision":
        assert ratios["f32_speedup"]["geometric_mean"] >= F32_TARGET * slack, ratios
        assert ratios["uint8_speedup"]["geometric_mean"] >= UINT8_TARGET * slack, ratios
    assert ratios["uint8_over_bound"]["geometric_mean"] <= BOUND_TARGET / slack, ratios


if __name__ == "__main__":
    main()
