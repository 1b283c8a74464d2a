"""One crop of a large picture, from the call to model-ready patches: in process, or over HTTP.

    OMP_NUM_THREADS=1 python benchmarks/tool_transport.py

An 800x600 box of a 4000x3000 picture that was decoded before, another box for every call, no
result cache. Wall time; candidates take turns within a round; the lower quartile counts.

- `ours_uint8`, `ours_f32`: the toolbox (binding, deadline, thread, commit to the store with its
  digest) and our patches in uint8, or normalised to the library's `pixel_values`;
- `peer`: a tool server as verl-tool and others run it: the picture as JPEG (PIL's default
  quality) in base64 in JSON over HTTP with keep-alive, decoded there, cropped, and back the same
  way, then the library's processor. Server: uvicorn, one process, decoding in a thread pool;
- `peer_our_patches`: the same with our patches at the end, so that only the transport differs;
- `null_post`: an empty POST to that server: the floor of HTTP;
- `by_reference`: a worker process of ours that holds the picture; the call names it by digest,
  the crop comes back as raw bytes. Without patches, and so are:
- `tool_alone`: the crop itself, in this process; `digest_alone`: its SHA-256, as the store takes
  it; `patches_alone`: its patches in uint8 (these three are parts of `ours_uint8`);
- `by_reference_first`: the same with the picture sent along (its first call).

With 1 and with 32 clients; the latter as wall time a call when 32 calls are under way at once.
Pixels are compared inside: ours are equal to the picture's own, the peer's PSNR is reported.
"""

from __future__ import annotations

import argparse
import asyncio
import base64
import http.client
import io
import json
import math
import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import _timing
import numpy as np
from _transport_page import BY, F32_TARGET, REFERENCE_TARGET, UINT8_TARGET, ratios, report
from _transport_tool import far_crop

SUPPORT = Path(__file__).parents[1] / "tests" / "support"
sys.path.insert(0, str(SUPPORT))

import torchvision_shim  # noqa: E402

torchvision_shim.install()

import PIL.Image  # noqa: E402
import PIL.ImageDraw  # noqa: E402
import torch  # noqa: E402

from vtool.dialects.hermes import Hermes  # noqa: E402
from vtool.families import family  # noqa: E402
from vtool.families.pixels import normalise, patches_of, tensor  # noqa: E402
from vtool.geometry import Box, Convention, Units  # noqa: E402
from vtool.media import Image  # noqa: E402
from vtool.message import ToolCall  # noqa: E402
from vtool.store import Store  # noqa: E402
from vtool.toolbox import Toolbox  # noqa: E402
from vtool.workers.pool import Workers  # noqa: E402

PICTURE, CROP, CLIENTS = (4000, 3000), (800, 600), 32
SPEC = replace(family("qwen25_vl").spec, max_pixels=1280 * 28 * 28)
FLOORS = {"uint8_speedup": 25.0, "f32_speedup": 12.0}
"""Below these something is wrong whatever else the machine is doing; targets need `--strict`."""
Corner = tuple[int, int]


def scene(seed: int) -> np.ndarray:
    """Noise of equal power in every octave, and some print: about as hard as a photograph."""
    rng = np.random.default_rng(seed)
    total = np.zeros((PICTURE[1], PICTURE[0], 3), np.float32)
    for octave in range(8):
        size = (PICTURE[0] >> octave, PICTURE[1] >> octave)
        grain = rng.integers(0, 256, (size[1], size[0], 3), dtype=np.uint8)
        smooth = PIL.Image.fromarray(grain).resize(PICTURE, PIL.Image.Resampling.BICUBIC)
        total += (np.asarray(smooth, np.float32) - 128) * (0.08 * 1.5**octave)
    picture = PIL.Image.fromarray(np.clip(total + 128, 0, 255).astype(np.uint8))
    pen = PIL.ImageDraw.Draw(picture)
    for i in range(60):
        x, y = (int(v) for v in rng.integers(0, (PICTURE[0] - 400, PICTURE[1] - 60)))
        pen.rectangle((x, y, x + 380, y + 50), fill="white")
        pen.text((x + 8, y + 8), f"sign {i} of 60", fill="black", font_size=32)
    return np.asarray(picture)


def corners(seed: int) -> Iterator[Corner]:
    """Where the next box begins."""
    rng = np.random.default_rng(seed)
    while True:
        x, y = rng.integers(0, PICTURE[0] - CROP[0]), rng.integers(0, PICTURE[1] - CROP[1])
        yield int(x), int(y)


def box_of(at: Corner) -> list[int]:
    return [at[0], at[1], at[0] + CROP[0], at[1] + CROP[1]]


def unit(at: Corner) -> Box:
    x1, y1, x2, y2 = box_of(at)
    return Box(x1 / PICTURE[0], y1 / PICTURE[1], x2 / PICTURE[0], y2 / PICTURE[1])


class Ours:
    """The toolbox in this process."""

    def __init__(self, image: Image) -> None:
        self.image = image
        self.box = Toolbox(["zoom"], cache=False)
        self.dialect = Hermes(coordinates=Convention(Units.ORIGINAL))

    async def crop(self, at: Corner) -> Image:
        """Call the tool as an episode does."""
        # A store for each episode, as in a rollout; the picture in it is shared.
        store = Store()
        store.add(self.image)
        call = ToolCall("zoom", {"image": 1, "box": box_of(at)})
        message = (await self.box.run([call], store, self.dialect, store.size))[0]
        return store.image(message.outcomes[0].handles[0])

    async def uint8(self, at: Corner) -> object:
        """To patches, normalised later."""
        return patches_of((await self.crop(at)).pixels, SPEC)

    async def f32(self, at: Corner) -> object:
        """To the library's `pixel_values`."""
        return normalise(tensor(patches_of((await self.crop(at)).pixels, SPEC).data), SPEC)


class Reference:
    """A worker process that holds the picture."""

    def __init__(self, image: Image) -> None:
        self.image, self.workers = image, Workers()

    async def crop(self, at: Corner) -> Image:
        """Call the worker."""
        values = {"image": self.image, "box": unit(at)}
        got: Image = await self.workers.call(far_crop, values, 60)
        return got

    async def first(self, at: Corner) -> Image:
        """Call it as if it had never seen the picture: the letter carries it."""
        self.workers._worker(far_crop)._sent.clear()
        return await self.crop(at)


class Peer:
    """A client of the HTTP server; a connection a thread, kept alive."""

    def __init__(self, picture: PIL.Image.Image, port: int) -> None:
        self.picture, self.port = picture, port
        self._own = threading.local()

    def post(self, path: str, body: bytes) -> bytes:
        """The body of the answer."""
        if not hasattr(self._own, "line"):
            self._own.line = http.client.HTTPConnection("127.0.0.1", self.port)
        line: http.client.HTTPConnection = self._own.line
        line.request("POST", path, body, {"content-type": "application/json"})
        answer = line.getresponse()
        assert answer.status == 200
        return answer.read()

    def crop(self, at: Corner) -> PIL.Image.Image:
        """There and back as JPEG in base64."""
        out = io.BytesIO()
        self.picture.save(out, format="JPEG")
        body = {"image": base64.b64encode(out.getvalue()).decode(), "box": box_of(at)}
        told = json.loads(self.post("/crop", json.dumps(body).encode()))
        return PIL.Image.open(io.BytesIO(base64.b64decode(told["image"]))).convert("RGB")

    def null(self, at: Corner) -> bytes:
        """Nothing there, nothing back."""
        return self.post("/null", b"{}")


def library() -> tuple[str, Callable[[PIL.Image.Image], object]]:
    """The library's processor at our settings: its faster one, where torchvision is there."""
    settings: dict[str, Any] = {
        "patch_size": SPEC.patch,
        "merge_size": SPEC.merge,
        "temporal_patch_size": SPEC.temporal,
        "size": {"shortest_edge": SPEC.min_pixels, "longest_edge": SPEC.max_pixels},
        "image_mean": list(SPEC.mean),
        "image_std": list(SPEC.std),
    }
    if torchvision_shim.state() != "absent":
        from transformers.models.qwen2_vl.image_processing_qwen2_vl import Qwen2VLImageProcessor

        fast = Qwen2VLImageProcessor(**settings)
        return "hf_torchvision", lambda picture: fast(images=[picture], return_tensors="pt")
    from transformers.models.qwen2_vl.image_processing_pil_qwen2_vl import (
        Qwen2VLImageProcessorPil,
    )

    slow = Qwen2VLImageProcessorPil(**settings)
    return "hf_pil", lambda picture: slow(images=[picture], return_tensors="np")


def psnr(seen: np.ndarray, true: np.ndarray) -> float:
    """Peak signal to noise in dB."""
    error = float(np.mean((seen.astype(np.float64) - true) ** 2))
    return math.inf if error == 0 else 10 * math.log10(255**2 / error)


class Bench:
    """All candidates on one picture."""

    def __init__(self, seed: int, port: int) -> None:
        pixels = scene(seed)
        self.image = Image(pixels)
        assert self.image.digest
        self.at = corners(seed)
        self.ours, self.reference = Ours(self.image), Reference(self.image)
        self.peer = Peer(PIL.Image.fromarray(pixels), port)
        self.processor, self.process = library()
        self.loop = asyncio.new_event_loop()
        self.cut = self.image.crop(unit(next(self.at)))

    def check(self) -> dict[str, float]:
        """Pixels of each way against the picture's own."""
        at = next(self.at)
        x1, y1, x2, y2 = box_of(at)
        true = self.image.pixels[y1:y2, x1:x2]
        ways = {
            "ours": self.loop.run_until_complete(self.ours.crop(at)).pixels,
            "by_reference": self.loop.run_until_complete(self.reference.crop(at)).pixels,
            "peer": np.asarray(self.peer.crop(at)),
        }
        found = {name: psnr(seen, true) for name, seen in ways.items()}
        assert found["ours"] == found["by_reference"] == math.inf, found
        return found

    def candidates(self) -> dict[str, Callable[[Corner], object]]:
        """Blocking calls; coroutines for ours."""
        return {
            "ours_uint8": self.ours.uint8,
            "ours_f32": self.ours.f32,
            "peer": lambda at: self.process(self.peer.crop(at)),
            "peer_our_patches": lambda at: patches_of(np.asarray(self.peer.crop(at)), SPEC),
            "null_post": self.peer.null,
            "by_reference": self.reference.crop,
            "by_reference_first": self.reference.first,
            "tool_alone": lambda at: self.image.crop(unit(at)),
            "digest_alone": lambda at: Image(self.cut.pixels).digest,
            "patches_alone": lambda at: patches_of(self.cut.pixels, SPEC),
        }

    def once(self, work: Callable[[Corner], Any], clients: int) -> float:
        """Wall seconds a call with so many clients at once."""
        where = [next(self.at) for _ in range(clients)]
        start = time.perf_counter()
        if asyncio.iscoroutinefunction(work):
            self.loop.run_until_complete(_all([work(at) for at in where]))
        elif clients == 1:
            work(where[0])
        else:
            self.pool(work, where)
        return (time.perf_counter() - start) / clients

    def pool(self, work: Callable[[Corner], Any], where: list[Corner]) -> None:
        """Clients of HTTP: a thread each, with its own connection."""
        if not hasattr(self, "_threads"):
            from concurrent.futures import ThreadPoolExecutor

            self._threads = ThreadPoolExecutor(CLIENTS)
        list(self._threads.map(work, where))

    def rounds(self, clients: int, repeats: int, fast_calls: int) -> dict[str, list[float]]:
        """Seconds a call of every candidate, taking turns; fast ones several times a turn."""
        out: dict[str, list[float]] = {}
        for round_ in range(-1, repeats):
            for name, work in self.candidates().items():
                if name == "by_reference_first" and clients > 1:
                    continue
                slow = "peer" in name or "first" in name
                many = fast_calls // 3 if slow else fast_calls
                seconds = [self.once(work, clients) for _ in range(many)]
                if round_ >= 0:
                    out.setdefault(name, []).extend(seconds)
        return out

    def close(self) -> None:
        """End the worker."""
        self.loop.run_until_complete(self.reference.workers.close())


async def _all(going: list[Any]) -> list[Any]:
    return list(await asyncio.gather(*going))


def start_server() -> tuple[subprocess.Popen[str], int]:
    """The peer's server in a process of its own, and its port."""
    script = str(Path(__file__).with_name("_transport_server.py"))
    server = subprocess.Popen([sys.executable, script], stdout=subprocess.PIPE, text=True)
    assert server.stdout is not None
    return server, int(server.stdout.readline())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--repeats", type=int, default=9)
    parser.add_argument("--repeats-many", type=int, default=3, help="with 32 clients")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--strict", action="store_true", help="hold the targets")
    args = parser.parse_args()
    torch.set_num_threads(1)
    packages = ("torch", "transformers", "pillow", "numpy", "uvicorn", "starlette")
    start = _timing.machine(packages)
    server, port = start_server()
    try:
        bench = Bench(args.seed, port)
        quality = bench.check()
        results = {
            "1": bench.rounds(1, args.repeats, 9),
            str(CLIENTS): bench.rounds(CLIENTS, args.repeats_many, 3),
        }
        quality = {name: min(quality[name], value) for name, value in bench.check().items()}
        bench.close()
    finally:
        server.terminate()
        server.wait()
    payload = {
        "benchmark": "tool_transport",
        "seed": args.seed,
        "processor": bench.processor,
        "machine": start | {"pid_cores": len(os.sched_getaffinity(0))},
        "psnr_db": {k: str(v) if math.isinf(v) else v for k, v in quality.items()},
        "targets": {
            "uint8_speedup": UINT8_TARGET,
            "f32_speedup": F32_TARGET,
            "reference_over_floor": REFERENCE_TARGET,
        },
        "ratios": {
            clients: {by: ratios(times, by) for by in BY} for clients, times in results.items()
        },
        "wall_s": {
            clients: {k: _timing.summary(v) for k, v in times.items()}
            for clients, times in results.items()
        },
    }
    print(_timing.write("tool_transport", payload))
    page = report(payload, results)
    (_timing.RESULTS / "tool_transport.md").write_text(page)
    print(page)
    one = payload["ratios"]["1"]["q1"]
    if args.strict:
        assert one["uint8_speedup"] >= UINT8_TARGET, one
        assert one["f32_speedup"] >= F32_TARGET, one
        assert one["reference_over_floor"] <= REFERENCE_TARGET, one
    assert all(one[name] >= least for name, least in FLOORS.items()), one


if __name__ == "__main__":
    main()
