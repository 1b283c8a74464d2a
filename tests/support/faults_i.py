"""Group I of the fault catalogue: pictures, through the doors by which they come in."""

import asyncio
import base64
import io
import json
import os
import struct
import zlib

import numpy as np
from PIL import Image as PILImage
from PIL import ImageFile, PngImagePlugin
from vtool.vision_tools.zoom import zoom

from vtool import data as task_files
from vtool import data_check, picture_file
from vtool.dialects.hermes import Hermes
from vtool.errors import DataError, MediaError
from vtool.media import Image
from vtool.message import ToolCall
from vtool.store import Store
from vtool.toolbox import Toolbox


def encoded(img, kind="PNG", **options):
    out = io.BytesIO()
    img.save(out, kind, **options)
    return out.getvalue()


def shot(width=64, height=48, seed=0):
    rng = np.random.default_rng(seed)
    return PILImage.fromarray(rng.integers(0, 256, (height, width, 3), dtype=np.uint8))


def answer(*jobs):
    """`bad_image` where every one is refused in words that hold nothing of ours."""
    said = []
    for job in jobs:
        try:
            job()
            return "decoded"
        except MediaError as err:
            said.append(str(err))
        except Exception as err:
            return f"another error: {err!r}"
    leaks = [s for s in said if "/" in s or "0x" in s]
    return f"leaks {leaks}" if leaks else "bad_image"


def finding(folder, name, data):
    """Codes that `data check` gives for a row with that picture."""
    (folder / name).write_bytes(data)
    row = {"images": [name], "messages": [{"role": "user", "content": "what?"}], "answer": "a"}
    (folder / "tasks.jsonl").write_text(json.dumps(row))
    return (
        ", ".join(f.code for f in data_check.check_data(folder / "tasks.jsonl").findings) or "none"
    )


def i1():
    """Also where another library has told Pillow to read torn files."""
    whole = encoded(shot(), "JPEG")
    ImageFile.LOAD_TRUNCATED_IMAGES = True
    try:
        return answer(*(lambda n=n: Image.decode(whole[:n]) for n in (len(whole) // 2, 700, 30)))
    finally:
        ImageFile.LOAD_TRUNCATED_IMAGES = False


def i1_row(folder):
    ImageFile.LOAD_TRUNCATED_IMAGES = True
    try:
        return finding(folder, "cut.jpg", encoded(shot(), "JPEG")[:900])
    finally:
        ImageFile.LOAD_TRUNCATED_IMAGES = False


def i2():
    return answer(*(lambda d=d: Image.decode(d) for d in (b"", b"\xff", b"<html></html>" * 9)))


def png_header(width, height):
    def chunk(kind, body):
        return (
            struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))
        )

    head = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    data = chunk(b"IDAT", zlib.compress(b"\0" * 64))
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + data + chunk(b"IEND", b"")


def i3():
    """Refused by what the header says, though only 64 bytes of pixels follow."""
    said = ""
    for side in (8001, 9500, 14_000, 60_000):
        try:
            Image.decode(png_header(side, side))
            return "decoded"
        except MediaError as err:
            said = str(err)
            if "pixels" not in said:
                return said
    return "refused from the header"


def grey16():
    ramp = np.array([[0, 257, 32768, 65535]], np.uint16)
    return Image.decode(encoded(PILImage.fromarray(ramp))).pixels[0, :, 0].tolist()


def i4():
    modes = {"CMYK": "TIFF", "L": "PNG", "P": "PNG", "LA": "PNG", "1": "PNG", "F": "TIFF"}
    for mode, kind in modes.items():
        pixels = Image.decode(encoded(shot().convert(mode), kind)).pixels
        if pixels.shape != (48, 64, 3) or int(pixels.max()) - int(pixels.min()) < 100:
            return f"{mode}: {pixels.min()} to {pixels.max()}"
    wide = PILImage.fromarray(np.array([[0.0, 0.5, np.nan, np.inf, 1.0]], np.float32))
    floats = Image.decode(encoded(wide, "TIFF")).pixels[0, :, 0].tolist()
    right = grey16() == [0, 1, 128, 255] and floats == [0, 128, 0, 0, 255]
    return "as defined" if right else f"{grey16()} {floats}"


def i5():
    hidden = PILImage.new("RGBA", (4, 4), (255, 0, 0, 0))
    half = PILImage.new("LA", (4, 4), (0, 128))
    least = Image.decode(encoded(hidden)).pixels.min()
    grey = Image.decode(encoded(half)).pixels[0, 0, 0]
    return "on white" if (least, grey) == (255, 127) else f"{least} {grey}"


def i6():
    """All eight orientations show the one mark in the top left corner."""
    mark = np.zeros((20, 30, 3), np.uint8)
    mark[:8, :12] = 255
    back = {2: 2, 3: 3, 4: 4, 5: 5, 6: 8, 7: 7, 8: 6}
    for value in range(1, 9):
        img = PILImage.fromarray(mark)
        turn = picture_file._TURNS.get(back.get(value, 1))
        img = img.transpose(turn) if turn is not None else img
        exif = PILImage.Exif()
        exif[0x0112] = value
        pixels = Image.decode(encoded(img, "PNG", exif=exif)).pixels
        if not np.array_equal(pixels, mark):
            return f"orientation {value}"
    return "upright"


def i7(folder):
    frames = [shot(seed=i).quantize() for i in range(3)]
    data = encoded(frames[0], "GIF", save_all=True, append_images=frames[1:])
    first = np.asarray(frames[0].convert("RGB"))
    same = np.array_equal(Image.decode(data).pixels, first)
    apng = encoded(shot(), "PNG", save_all=True, append_images=[shot(seed=1)])
    webp = encoded(shot(), "WEBP", save_all=True, append_images=[shot(seed=1)])
    told = {finding(folder, "a.png", d) for d in (data, apng, webp)}
    return f"{told.pop()}, first" if same and len(told) == 1 else f"{same} {told}"


def i8():
    pages = encoded(shot(), "TIFF", save_all=True, append_images=[shot(seed=1)])
    others = (
        b"8BPS\x00\x01" + bytes(40),
        b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n",
        b"SIMPLE  =                    T" + b" " * 2850,
        b'<svg xmlns="http://www.w3.org/2000/svg"/>',
        b"\x00\x00\x00\x18ftypheic\x00\x00\x00\x00mif1heic",
        encoded(shot(), "PPM"),
        encoded(shot(), "ICO"),
    )
    return answer(*(lambda d=d: Image.decode(d) for d in (pages, *others)))


def i9():
    """Extreme shapes are decoded; what no family can show is answered, not crashed on."""
    codes = []
    for size in ((1, 1), (1, 10_000), (10_000, 20)):
        store = Store()
        store.add(Image.decode(encoded(shot(*size))))
        call = ToolCall("zoom", {"image": 1, "box": [0, 0, 1000, 1000]})
        run = Toolbox([zoom]).run([call], store, Hermes(), lambda handle: (64, 64))
        fault = asyncio.run(run)[0].outcomes[0].fault
        codes.append("none" if fault is None else str(fault.code))
    return ", ".join(codes)


def i10():
    """Metadata, damaged or huge, changes nothing and does not leave again."""
    plain = Image.decode(encoded(shot()))
    text = PngImagePlugin.PngInfo()
    text.add_text("note", "secret " * 800_000, zip=True)
    text.add_itxt("more", "secret " * 800_000)
    broken = b"Exif\0\0MM\0*\0\0\0\x08\xff\xff" + b"\x01\x12\0\x03" + b"\xff" * 40
    try:
        same = [
            Image.decode(encoded(shot(), pnginfo=text)),
            Image.decode(encoded(shot(), icc_profile=b"no profile" * 300_000)),
            Image.decode(encoded(shot(), exif=broken)),
        ]
    except MediaError as err:
        return str(err)
    equal = all(i.digest == plain.digest for i in same)
    jpeg = Image.decode(encoded(shot(), "JPEG", exif=broken, comment=b"secret" * 9000))
    clean = b"secret" not in same[0].encode() + jpeg.encode("JPEG")
    return "ignored and stripped" if equal and clean else f"{equal} {clean}"


def i11():
    data = encoded(shot(), "PNG")
    text = base64.b64encode(data).decode()
    spaced = "\n ".join(text[i : i + 7] for i in range(0, len(text), 7))
    wrong_type = f"data:image/jpeg;charset=x;base64,{text}"
    wanted = Image.decode(data)
    try:
        if any(Image.decode_text(t) != wanted for t in (text, spaced, wrong_type)):
            return "not read"
    except MediaError as err:
        return str(err)
    html = base64.b64encode(b"<html>").decode()
    refused = (html, "data:text/html," + text, text[:-9] + "=*", f"data:video/jpeg;base64,{html}")
    return answer(*(lambda t=t: Image.decode_text(t) for t in refused))


def i11_size():
    """Refused by length; base64 would decode it."""
    try:
        Image.decode_text("A" * (picture_file.MAX_BASE64 + 4))
    except MediaError as err:
        return "refused by size" if "characters" in str(err) else str(err)
    return "decoded"


def i12(folder):
    """An episode's picture outlives its file; a task whose file changed is refused."""
    for name in "ab":
        shot(seed=ord(name)).save(folder / f"{name}.png")
    rows = [
        {"images": [f"{n}.png"], "messages": [{"role": "user", "content": "?"}], "answer": "1"}
        for n in "ab"
    ]
    (folder / "t.jsonl").write_text("\n".join(json.dumps(r) for r in rows))
    tasks = task_files.load_tasks(folder / "t.jsonl", keep=1)
    store = Store()
    entry = store.add(tasks[0].media[0])
    shot(seed=9).save(folder / "a.png")
    kept = Image(np.array(store.image(entry.handle).pixels)).digest == entry.digest
    _ = tasks[1]
    try:
        _ = tasks[0]
    except DataError as err:
        return "owned, change refused" if kept and "changed" in str(err) else str(err)
    return "change not seen"


def i12_array():
    """What a caller does to its own array afterwards does not reach the picture."""
    mine = np.zeros((4, 4, 3), np.uint8)
    view = mine[:]
    view.flags.writeable = False
    pictures = [Image(mine), Image(view), Image(np.broadcast_to(mine[:1], (4, 4, 3)))]
    mine[:] = 7
    return "owned" if all(p.pixels.max() == 0 for p in pictures) else "shared"


def i13(folder):
    shot().save(folder / "a.png")
    row = {"images": ["a.png"] * 200, "messages": [{"role": "user", "content": "?"}], "answer": "1"}
    (folder / "t.jsonl").write_text(json.dumps(row))
    try:
        task_files.load_tasks(folder / "t.jsonl")
    except DataError as err:
        return "too_many_images" if "too_many_images" in str(err) else str(err)
    return "read"


def i14(folder):
    os.mkfifo(folder / "pipe")
    for path in ("/dev/zero", folder / "pipe", folder):
        try:
            Image.open(path)
        except MediaError as err:
            if "a pipe or a device" not in str(err):
                return str(err)
    return answer(
        lambda: Image.open("a\0b.png"),
        lambda: Image.open(folder / "none.png"),
        lambda: Image.open("/dev/zero"),
    )


def i14_root(folder):
    shot().save(folder / "secret.png")
    root = folder / "root"
    root.mkdir()
    shot().save(root / "fine.png")
    (root / "link.png").symlink_to(folder / "secret.png")
    if Image.open("fine.png", root=root).size != (64, 48):
        return "not read"
    names = ("link.png", "../secret.png", str(folder / "secret.png"), "file://fine.png")
    refused = 0
    for name in names:
        try:
            Image.open(name, root=root)
        except MediaError:
            refused += 1
    return f"{refused} of {len(names)} refused"


def i_replay():
    """Recorded steps are bounded like everything else that comes from a file."""
    image = Image(np.zeros((40, 40, 3), np.uint8))
    steps = (
        ("resize", (8_001.0, 8_001.0)),
        ("resize", (float("inf"), 2.0)),
        ("rotate", (float("nan"),)),
        ("crop", (0.0, 0.0, 99.0, 99.0)),
        ("crop", (0.0,)),
        ("shear", (1.0,)),
    )
    return answer(*(lambda s=s: image.replay((s,)) for s in steps))


def clipped(raw, mode):
    """What Pillow's own conversion does to 16-bit and float: all that is bright becomes white."""
    return np.nan_to_num(raw).clip(0, 255).astype(np.uint8)
