"""Zooming into a 12-megapixel photograph, from the call to patches that a model takes.

    OMP_NUM_THREADS=1 python benchmarks/zoom.py [--strict]

`zoom_warm`: a group of 8 attempts looks at the same 4 places of one picture (32 calls). Ours: one
decoding (told apart), the toolbox with its cache of results, each attempt with a store of its own,
patches made once for each crop. The peer does for each call what visual-tool trainers do: open
the file, cut, and give the cut to the library's image processor (torchvision's where it can be
imported, else the PIL one; the faster of the two counts).

`zoom_cold`: the first 800 x 600 box of a picture that nobody has decoded. Ours: our strict reader
(simplejpeg where installed, else Pillow), zoom, patches. Bounds: decoding alone, by Pillow and by
simplejpeg; told beside them, what the picture's digest takes. Writes `results/zoom.json` and
`.md`. Outputs are compared inside: equal grids and
`pixel_values` to 1e-6, and what float rounding of the crop would change is asserted away by
taking whole pixels.
"""

from __future__ import annotations

import argparse
import asyncio
import io
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import _timing
import numpy as np

SUPPORT = Path(__file__).parents[1] / "tests" / "support"
sys.path.insert(0, str(SUPPORT))

import torchvision_shim  # noqa: E402

torchvision_shim.install()

import PIL.Image  # noqa: E402
import simplejpeg  # noqa: E402
from pictures import textured  # noqa: E402
from processor_parity import peers  # noqa: E402

from vtool.dialects.hermes import Hermes  # noqa: E402
from vtool.families import family  # noqa: E402
from vtool.families.pixels import normalise, patches_of, tensor  # noqa: E402
from vtool.geometry import Convention, Units  # noqa: E402
from vtool.media import Image  # noqa: E402
from vtool.message import ToolCall  # noqa: E402
from vtool.store import Store  # noqa: E402
from vtool.toolbox import Toolbox  # noqa: E402

PICTURE, MEMBERS = (4000, 3000), 8
SIZES = {"800x600": (800, 600), "2400x1800": (2400, 1800)}
TARGETS = {"800x600": 20.0, "2400x1800": 6.0, "cold": 1.5}
EQUAL = 1e-6
SPEC = family("qwen25_vl").spec
Corner = tuple[int, int]


def corners(size: tuple[int, int]) -> list[Corner]:
    """Four places, whole pixels."""
    rng = np.random.default_rng(size[0])
    return [
        (int(rng.integers(0, PICTURE[0] - size[0])), int(rng.integers(0, PICTURE[1] - size[1])))
        for _ in range(4)
    ]


async def zoomed(box: Toolbox, image: Image, at: Corner, size: tuple[int, int]) -> Image:
    """One call, as an attempt makes it: with a store of its own."""
    store = Store()
    store.add(image)
    dialect = Hermes(coordinates=Convention(Units.ORIGINAL))
    call = ToolCall("zoom", {"image": 1, "box": [*at, at[0] + size[0], at[1] + size[1]]})
    (said,) = await box.run([call], store, dialect, store.size)
    return store.image(said.outcomes[0].handles[0])


def ours(image: Image, places: list[Corner], size: tuple[int, int], *, f32: bool) -> list[Any]:
    """All calls of the group; what was cut before is neither cut nor laid out again."""
    box, made = Toolbox(["zoom"]), {}

    async def play() -> list[Any]:
        out = []
        for _ in range(MEMBERS):
            for at in places:
                cut = await zoomed(box, image, at, size)
                if cut.digest not in made:
                    patches = patches_of(cut.pixels, SPEC)
                    made[cut.digest] = normalise(tensor(patches.data), SPEC) if f32 else patches
                out.append(made[cut.digest])
        return out

    return asyncio.run(play())


def peer(data: bytes, at: Corner, size: tuple[int, int], run: Callable[[np.ndarray], Any]) -> Any:
    """One call of the peer: open, cut, process."""
    with PIL.Image.open(io.BytesIO(data)) as img:
        cut = img.convert("RGB").crop((*at, at[0] + size[0], at[1] + size[1]))
    return run(np.asarray(cut))


def check(image: Image, data: bytes, at: Corner, size: tuple[int, int], run: Any) -> None:
    """Both give the model the same numbers."""
    mine = ours(image, [at], size, f32=True)[0].numpy()
    theirs = np.asarray(peer(data, at, size, run)["pixel_values"])
    assert mine.shape == theirs.shape
    assert np.abs(mine - theirs).max() <= EQUAL


def fastest(data: bytes, found: dict[str, Any]) -> tuple[str, Any]:
    """The quicker of the library's processors on this machine."""
    exact = {k: v for k, v in found.items() if k == "hf_torchvision"} or found
    runs = {k: (lambda v=v: peer(data, (100, 100), (800, 600), v)) for k, v in exact.items()}
    times = _timing.interleave(runs, repeats=3)
    best = min(times, key=lambda k: min(times[k]))
    return best, exact[best]


def warm(image: Image, data: bytes, run: Any, repeats: int) -> dict[str, Any]:
    """The group's 32 calls, at two sizes."""
    out = {}
    for name, size in SIZES.items():
        places = corners(size)
        check(image, data, places[0], size, run)
        times = _timing.interleave(
            {
                "ours_uint8": lambda p=places, s=size: ours(image, p, s, f32=False),
                "ours_f32": lambda p=places, s=size: ours(image, p, s, f32=True),
                # A fourth of the group is enough of the peer: it does the same again each time.
                "peer": lambda p=places, s=size: [
                    peer(data, at, s, run) for _ in range(2) for at in p
                ],
            },
            repeats=repeats,
        )
        seconds = {k: _timing.summary(v) for k, v in times.items()}
        whole = seconds["peer"]["median"] * MEMBERS / 2
        out[name] = {
            "cpu_s": seconds,
            "peer_whole_group_s": whole,
            "ratio_uint8": whole / seconds["ours_uint8"]["median"],
            "ratio_f32": whole / seconds["ours_f32"]["median"],
        }
    return out


def cold(data: bytes, run: Any, repeats: int) -> dict[str, Any]:
    """The first box of a picture that nobody has decoded."""
    size, at = SIZES["800x600"], corners(SIZES["800x600"])[0]
    box = Toolbox(["zoom"], cache=False)

    def mine() -> Any:
        cut = asyncio.run(zoomed(box, Image.decode(data), at, size))
        return patches_of(cut.pixels, SPEC)

    pixels = Image.decode(data).pixels
    times = _timing.interleave(
        {
            "ours": mine,
            "identity": lambda: Image(pixels).digest,
            "peer": lambda: peer(data, at, size, run),
            "decode_pillow": lambda: np.asarray(PIL.Image.open(io.BytesIO(data)).convert("RGB")),
            "decode_simplejpeg": lambda: simplejpeg.decode_jpeg(data, "RGB", strict=True),
        },
        repeats=repeats,
    )
    seconds = {k: _timing.summary(v) for k, v in times.items()}
    median = {k: v["median"] for k, v in seconds.items()}
    return {
        "cpu_s": seconds,
        "ratio": median["peer"] / median["ours"],
        "over_decoding": median["ours"] / median["decode_simplejpeg"],
    }


def main() -> None:
    """Measure, compare with the targets, write."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--repeats", type=int, default=9)
    parser.add_argument("--strict", action="store_true", help="fail where a target is missed")
    args = parser.parse_args()
    out = io.BytesIO()
    PIL.Image.fromarray(textured(*PICTURE, 0)).save(out, "JPEG", quality=90)
    data = out.getvalue()
    name, run = fastest(data, peers(SPEC))
    start = _timing.interleave({"decode": lambda: Image.decode(data)}, repeats=3)["decode"]
    report = {
        "picture": f"{PICTURE[0]}x{PICTURE[1]} JPEG, {len(data) / 1e6:.1f} MB",
        "peer": name,
        "first_decode_cpu_s": min(start),
        "warm": warm(Image.decode(data), data, run, args.repeats),
        "cold": cold(data, run, args.repeats),
        "machine": _timing.machine(),
    }
    _timing.write("zoom", report)
    reached = write(report)
    if args.strict:
        assert all(reached.values()), reached


def write(report: dict[str, Any]) -> dict[str, bool]:
    """The table, and which targets were reached."""
    warm_, cold_ = report["warm"], report["cold"]
    reached = {k: warm_[k]["ratio_uint8"] >= TARGETS[k] for k in SIZES}
    reached["cold"] = cold_["ratio"] >= TARGETS["cold"]
    lines = [
        "# Zoom",
        "",
        "`OMP_NUM_THREADS=1 python benchmarks/zoom.py`; CPU time, medians, interleaved. "
        f"{report['picture']}; peer: Pillow opens and cuts for each call, `{report['peer']}`.",
        "",
        "| | ours (uint8) | ours (f32) | peer | ratio uint8 | ratio f32 | target |",
        "|---|---|---|---|---|---|---|",
    ]
    for k in SIZES:
        w = warm_[k]
        mine = [w["cpu_s"][f"ours_{t}"]["median"] * 1e3 for t in ("uint8", "f32")]
        lines.append(
            f"| warm, 4 boxes of {k} x 8 | {mine[0]:.0f} ms | {mine[1]:.0f} ms | "
            f"{w['peer_whole_group_s'] * 1e3:.0f} ms | {w['ratio_uint8']:.1f} | "
            f"{w['ratio_f32']:.1f} | {TARGETS[k]:g} |"
        )
    c = {k: v["median"] * 1e3 for k, v in cold_["cpu_s"].items()}
    lines += [
        f"| cold, first box of 800x600 | {c['ours']:.0f} ms | | {c['peer']:.0f} ms | "
        f"{cold_['ratio']:.2f} | | {TARGETS['cold']:g} |",
        "",
        f"The first decoding, told apart in the warm rows: {report['first_decode_cpu_s'] * 1e3:.0f}"
        f" ms. Decoding alone: Pillow {c['decode_pillow']:.0f} ms, simplejpeg "
        f"{c['decode_simplejpeg']:.0f} ms; ours is {cold_['over_decoding']:.2f} of the latter. "
        f"SHA-256 over all pixels, by which pictures are known, takes {c['identity']:.0f} ms of "
        "the rest. Were decoding all there is, the cold ratio would be "
        f"{c['peer'] / c['decode_simplejpeg']:.2f}.",
    ]
    text = "\n".join(lines) + "\n"
    (_timing.RESULTS / "zoom.md").write_text(text, encoding="utf-8")
    print(text)
    return reached


if __name__ == "__main__":
    main()
