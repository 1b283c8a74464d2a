"""Stereo depth on a real pair with measured truth: how far off, how much covered, how fast.

    OMP_NUM_THREADS=1 python benchmarks/stereo_depth.py

The pair is `skimage.data.stereo_motorcycle()`: Middlebury 2014 "Motorcycle" (Scharstein et al.,
GCPR 2014), scaled down four times; its calibration stands in that function's documentation
(scikit-image 0.26). Writes `results/stereo_depth.md` and `.json`. Rows:

- `stereo_depth`: the tool as it is set by default, with and without the 64 disparities that are
  enough for this pair;
- `without check`: the same matcher without comparing left and right;
- `parallax`: optical flow between the two, as if they were frames; it gives an order only, so
  its rank correlation is told;
- peers: plain `cv2.StereoBM`, and the mean of the truth everywhere (what knowing nothing costs).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import _timing
import cv2
import numpy as np
from skimage import data
from vtool.vision_tools.backends.stereo import default_disparities, disparity
from vtool.vision_tools.parallax import parallax
from vtool.vision_tools.stereo_depth import StereoSettings, from_disparity

from vtool.media import Image

RIG = StereoSettings(
    baseline_m=0.193001, focal_px=994.978, cx_px=311.193, cy_px=254.877, doffs_px=31.086
)
EPE, BAD_2 = 1.5, 0.08


def block_matching(left: Image, right: Image) -> np.ndarray:
    """OpenCV's plain matcher at its usual window."""
    grey = [cv2.cvtColor(p.pixels, cv2.COLOR_RGB2GRAY) for p in (left, right)]
    raw = cv2.StereoBM_create(96, 15).compute(*grey).astype(np.float32) / 16
    return np.where(raw >= 0, raw, np.nan)


def unchecked(left: Image, right: Image) -> np.ndarray:
    """The tool's matcher, every answer taken."""
    return disparity(left, right, disparities=96, block=3, tolerance_px=np.inf)


def judge(found: np.ndarray, truth: np.ndarray) -> dict[str, float]:
    """Errors on pixels that are matched and have a truth, and how many these are."""
    known = np.isfinite(truth)
    both = known & np.isfinite(found)
    away = np.abs(found - truth)[both]
    z, z_true = (from_disparity(d.astype(np.float32), RIG).values for d in (found, truth))
    off = np.abs(z - z_true)[both] / z_true[both]
    return {
        "epe_px": float(away.mean()),
        "median_px": float(np.median(away)),
        "bad_1": float((away > 1).mean()),
        "bad_2": float((away > 2).mean()),
        "coverage": float(both.sum() / known.sum()),
        "depth_median_error": float(np.nanmedian(off)),
        "depth_off_5_percent": float((off > 0.05).mean()),
    }


def rank_correlation(left: Image, right: Image, truth: np.ndarray) -> dict[str, float]:
    """How well parallax orders the scene (Spearman), and what it covers."""
    far = parallax(left, right).values[0].values
    both = np.isfinite(far) & np.isfinite(truth)
    ranks = [np.argsort(np.argsort(v)) for v in (far[both], -truth[both])]
    return {
        "rank_correlation": float(np.corrcoef(*ranks)[0, 1]),
        "coverage": float(both.sum() / np.isfinite(truth).sum()),
    }


def page(rows: dict[str, dict[str, float]], order: dict[str, float], machine: Any) -> str:
    """The results as a page."""
    head = "| method | EPE px | median px | bad-1 | bad-2 | covered | depth error (median) | "
    lines = [head + "depth off > 5 % | CPU s |", "|" + "---|" * 9]
    for name, r in rows.items():
        lines.append(
            f"| {name} | {r['epe_px']:.2f} | {r['median_px']:.2f} | {r['bad_1']:.1%} | "
            f"{r['bad_2']:.1%} | {r['coverage']:.1%} | {r['depth_median_error']:.2%} | "
            f"{r['depth_off_5_percent']:.1%} | {r['seconds']:.2f} |"
        )
    return "\n".join(
        [
            "# Stereo depth on the Middlebury motorcycle",
            "",
            "Made by `OMP_NUM_THREADS=1 python benchmarks/stereo_depth.py`; targets: EPE below "
            f"{EPE} px and bad-2 below {BAD_2:.0%} on matched pixels. Errors count pixels that "
            "are matched and have a measured truth; `covered` is their share of those with a "
            "truth. 741x500 pixels, true disparities 7.2 to 59.9 px.",
            "",
            *lines,
            "",
            f"Parallax (optical flow, order only): rank correlation "
            f"{order['rank_correlation']:.3f} with the truth on {order['coverage']:.1%} of it, "
            f"{order['seconds']:.2f} CPU s.",
            "",
            "Depth is focal * baseline / (disparity + doffs), with the published numbers: 994.978 "
            "px, 0.193001 m, 31.086 px.",
            "",
            f"Machine: {machine['cpu']}, one thread; {machine['packages']}.",
            "",
        ]
    )


def main() -> None:
    cv2.setNumThreads(1)
    left_pixels, right_pixels, truth = data.stereo_motorcycle()
    left, right = Image(left_pixels), Image(right_pixels)
    tried = default_disparities(left.size[0])
    methods: dict[str, Callable[[], np.ndarray]] = {
        f"stereo_depth ({tried} disparities)": lambda: disparity(
            left, right, disparities=tried, block=3, tolerance_px=1.0
        ),
        "stereo_depth (64 disparities)": lambda: disparity(
            left, right, disparities=64, block=3, tolerance_px=1.0
        ),
        "without check": lambda: unchecked(left, right),
        "cv2.StereoBM": lambda: block_matching(left, right),
        "mean everywhere": lambda: np.full_like(truth, truth[np.isfinite(truth)].mean()),
    }
    seconds = _timing.interleave({**methods, "parallax": lambda: parallax(left, right)}, repeats=5)
    rows = {
        name: {**judge(work(), truth), "seconds": _timing.summary(seconds[name])["median"]}
        for name, work in methods.items()
    }
    order = rank_correlation(left, right, truth)
    order["seconds"] = _timing.summary(seconds["parallax"])["median"]
    machine = _timing.machine(("opencv-python-headless", "scikit-image", "numpy"))
    print(_timing.write("stereo_depth", {"rows": rows, "parallax": order, "machine": machine}))
    text = page(rows, order, machine)
    (_timing.RESULTS / "stereo_depth.md").write_text(text)
    print(text)
    for name in list(rows)[:2]:
        assert rows[name]["epe_px"] < EPE, rows[name]
        assert rows[name]["bad_2"] < BAD_2, rows[name]


if __name__ == "__main__":
    main()
