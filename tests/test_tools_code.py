"""The code tool: a session over the episode's pictures, its end, its forks, its boundary."""

import asyncio
import json
import time

import numpy as np
import pytest
from faults_p import LEAN, code_of, picture, tool
from hypothesis import given
from hypothesis import strategies as st
from vtool.vision_tools.code import clip, python
from vtool.vision_tools.sandbox.limits import Limits
from vtool.vision_tools.sandbox.notebook import Notebook
from vtool.vision_tools.sandbox.pool import Pool
from vtool.vision_tools.sandbox.session import Kind

from vtool.check import check_environment, check_tool
from vtool.dialects.hermes import Hermes
from vtool.environment import ToolEnvironment
from vtool.errors import FaultCode, ForkRefused, ModelFault
from vtool.geometry import Box, Region, Unmappable
from vtool.record import Context
from vtool.store import Store
from vtool.task import Answer, Task
from vtool.toolbox import Toolbox
from vtool.workspace import Belongings

pytestmark = pytest.mark.system("bubblewrap")

KIND = Kind(Limits(seconds=10.0), ("numpy", "pillow"), ())
FULL = Kind(Limits(seconds=20.0))


@pytest.fixture
def book():
    with Notebook(KIND, Pool()) as book:
        yield book


@pytest.fixture
def kept():
    kept = Belongings()
    yield kept
    kept.close()


def environment(*pictures, **settings):
    task = Task(id="t", prompt=(*(pictures or (picture(),)), "what?"), reference=Answer(("7",)))
    return ToolEnvironment(task, Toolbox([tool(**settings)]))


async def turn(env, *cells):
    calls = (json.dumps({"name": "python", "arguments": {"code": c}}) for c in cells)
    text = "\n".join(f"<tool_call>\n{c}\n</tool_call>" for c in calls)
    reply = await env.reply(Hermes().parse(text), Context(0, "policy", env.store), Hermes())
    return reply.messages


def test_names_pictures_and_results_live_on_through_an_episode():
    async def go():
        env = environment(picture(40, 30))
        await env.reset()
        (first,) = await turn(env, "left = image_1.crop((0, 0, 20, 30))\nshow(left)\nleft.size")
        (second,) = await turn(env, "print(image_2.size, image_2.tobytes() == left.tobytes())")
        many = await turn(env, "x = 1", "x += 1", "x")
        await env.close()
        return env, first, second, many

    env, first, second, many = asyncio.run(go())
    assert first.text == "(20, 30)"
    assert first.outcomes[0].handles == ("image_2",)
    assert np.array_equal(env.store.image("image_2").pixels, picture(40, 30).pixels[:, :20])
    assert isinstance(env.store.to_source(Region("image_2", Box(0, 0, 1, 1))), Unmappable)
    assert second.text == "(20, 30) True"
    assert [m.text for m in many] == ["(nothing printed)", "(nothing printed)", "2"]
    assert env.runtime["persistent"] is True


def test_without_persistence_each_call_begins_anew_and_the_record_says_so():
    async def go():
        env = environment(persistent=False)
        await env.reset()
        told = [(await turn(env, cell))[0].text for cell in ("x = 1", "print(x)", "image_1.size")]
        await env.close()
        return env.runtime, told

    runtime, told = asyncio.run(go())
    assert runtime["persistent"] is False
    assert "NameError: name 'x' is not defined" in told[1]
    assert told[2] == "(32, 24)"


@pytest.mark.parametrize(
    ("code", "said"),
    [
        ("1 + 1", "2"),
        ("None", ""),
        ("x = 3", ""),
        ("'text'", "'text'"),
        ("import sys; print('a'); print('b', file=sys.stderr)", "a\nb"),
        ("import os; os.write(1, b'by number')", "by number9"),
        ("def f():\n    return 5\nf()", "5"),
        ("print('\\udcff'.encode('utf-8', 'surrogatepass'))", "b'\\xed\\xb3\\xbf'"),
        ("import os; os.write(1, b'\\xff')", "\ufffd1"),
    ],
)
def test_what_a_cell_says(book, code, said):
    result = book.run(code, {})
    assert (result.printed.rstrip("\n"), result.error) == (said, "")


@pytest.mark.parametrize(
    ("code", "ends", "told"),
    [
        ("a = 1\nb = a / 0", "ZeroDivisionError: division by zero", 'File "<cell 1>", line 2'),
        ("for", "SyntaxError: invalid syntax", 'File "<cell 1>", line 1'),
        ("raise SystemExit(3)", "SystemExit: 3", "<cell 1>"),
        ("raise KeyboardInterrupt", "KeyboardInterrupt", "<cell 1>"),
        ("def f():\n    f()\nf()", "RecursionError: maximum recursion depth exceeded", "<cell 1>"),
        ("class E(Exception):\n    __str__ = None\nraise E", "E: <exception str() failed>", ""),
        ("x" * 3 + " = \0", "source code string cannot contain null bytes", ""),
        ("import os; os.kill(1, 9); 1/0", "division by zero", "line 1"),
        ("try: 1/0\nexcept Exception: show(3)", "got int", "During handling"),
        ("for i in range(10_000): show(images['image_1'])", "at most 10 pictures", "line 1"),
        ("import numpy; show(numpy.zeros((5000, 5000)))", "at most 16000000 pixels", "5000x5000"),
    ],
)
def test_a_cell_that_fails_is_told_and_the_session_goes_on(book, code, ends, told):
    result = book.run(code, {"image_1": picture()})
    assert result.error.endswith(ends)
    assert told in result.error
    assert "cell_runner" not in result.error
    assert book.run("1 + 1", {}).printed == "2\n"


def test_pictures_that_are_too_large_together_are_refused_where_they_are_shown():
    with Notebook(Kind(Limits(result_mb=1), ("numpy", "pillow"), ()), Pool()) as book:
        result = book.run(
            "import os, PIL.Image as P\nx = P.frombytes('RGB', (500, 500), os.urandom(750_000))\n"
            "show(x)\nshow(x)",
            {},
        )
        assert "at most 1000000 bytes as PNG" in result.error
        assert [i.size for i in result.images] == [(500, 500)]


def test_pictures_come_back_exactly_in_every_kind():
    with Notebook(FULL, Pool()) as book:
        source = picture(31, 17)
        result = book.run("show(image_1)\nimage_1", {"image_1": source})
        assert [i.digest for i in result.images] == [source.digest] * 2
        cell = """
import numpy as np
ramp = np.linspace(0, 1, 20).reshape(4, 5)
for a in (ramp, ramp > 0.5, (ramp * 300).astype(int), np.dstack([ramp] * 3), ramp[:, :, None]):
    show(a)
show(image_1.convert("HSV")); show(image_1.convert("L"))
"""
        images = book.run(cell, {}).images
        grey = [i.pixels[:, :, 0] for i in images]
        assert np.array_equal(grey[0], np.round(np.linspace(0, 1, 20) * 255).reshape(4, 5))
        assert set(np.unique(grey[1])) == {0, 255}
        assert grey[2].max() == 255
        assert np.array_equal(images[3].pixels, np.dstack([grey[0]] * 3))
        assert [i.size for i in images[5:]] == [(31, 17)] * 2


def test_matplotlib_and_opencv_work_inside():
    with Notebook(FULL, Pool()) as book:
        cell = "import matplotlib.pyplot as plt\nplt.plot([1, 3, 2])\nplt.show()\nplt.get_fignums()"
        result = book.run(cell, {})
        assert (result.error, result.printed) == ("", "[]\n")
        assert [i.size for i in result.images] == [(640, 480)]
        assert len(np.unique(result.images[0].pixels)) > 10
        result = book.run(
            "import cv2, numpy as np\nshow(cv2.Canny(np.asarray(image_1), 50, 99))",
            {"image_1": picture()},
        )
        assert result.error == ""
        assert result.images[0].size == (32, 24)


ENDS = {
    "segfault": ("import ctypes; ctypes.string_at(0)", FaultCode.TOOL_CRASHED, "signal 11"),
    "abort": ("import os; os.abort()", FaultCode.TOOL_CRASHED, "signal 6"),
    "exit": ("import os; os._exit(3)", FaultCode.TOOL_CRASHED, "code 3"),
    "cut": (
        "import os, time\nos.closerange(3, 100)\ntime.sleep(9)",
        FaultCode.TOOL_CRASHED,
        "connection",
    ),
    "late": ("import time; time.sleep(9)", FaultCode.TIMEOUT, "longer than 1.2 s"),
    "deaf": (
        "import signal, time\nfor s in range(1, 65):\n  try: signal.signal(s, signal.SIG_IGN)\n"
        "  except Exception: pass\nwhile True: time.sleep(1)",
        FaultCode.TIMEOUT,
        "longer",
    ),
}


@pytest.mark.parametrize("name", ENDS)
def test_the_end_of_a_session_is_told_and_the_next_call_has_a_new_one(book, name):
    code, fault, told = ENDS[name]
    book.run("x = 1", {"image_1": picture()})
    with pytest.raises(ModelFault, match=told) as caught:
        book.run(code, {}, seconds=1.2)
    assert caught.value.code is fault
    assert "variables are lost" in caught.value.message
    assert "/" not in caught.value.message
    result = book.run("print('x' in globals(), image_1.size)", {"image_1": picture()})
    assert result.printed == "False (32, 24)\n"


def test_a_fork_runs_the_cells_again_and_then_goes_its_own_way(kept):
    book = kept.get("python", lambda: Notebook(KIND, Pool()))
    book.run("import random\nx = random.random()", {"image_1": picture()}, seed=5)
    book.run("show(image_1)\nx", {})
    with book.fork() as other:
        assert other.run("x", {}).printed == book.run("x", {}).printed
        other.run("x = 'other'", {})
        assert book.run("x", {}).printed != other.run("x", {}).printed
        assert other.run("image_1.size", {}).printed == "(32, 24)\n"


def test_a_past_that_comes_out_otherwise_refuses_the_fork():
    async def go(cell):
        env = environment()
        await env.reset()
        await turn(env, cell)
        try:
            other = await env.fork()
            await other.close()
        finally:
            await env.close()

    asyncio.run(go("import random; random.random()"))
    with pytest.raises(ForkRefused, match="cell 1"):
        asyncio.run(go("import os; os.urandom(8)"))


def test_the_generators_begin_from_the_episode_s_seed():
    cell = "import random, numpy\nprint(random.random(), numpy.random.rand(), hash('a'))"

    def drawn(seed):
        with Notebook(Kind(preload=("numpy",)), Pool()) as book:
            return book.run(cell, {}, seed=seed).printed

    assert drawn(1) == drawn(1) != drawn(2)


def test_sixteen_episodes_at_once_do_not_meet():
    async def one(i):
        env = environment(picture(20 + i, 20))
        await env.reset()
        await turn(env, f"mine = {i}")
        (message,) = await turn(env, "print(mine, image_1.size[0])")
        await env.close()
        return message.text

    async def go():
        return await asyncio.gather(*(one(i) for i in range(16)))

    assert asyncio.run(go()) == [f"{i} {20 + i}" for i in range(16)]


@pytest.mark.parametrize("code", ["", "  \n", "x" * 100_001, "print('\ud800')"])
def test_what_can_be_no_cell_is_refused_without_a_guest(code):
    with pytest.raises(ModelFault) as caught:
        python.set(**LEAN)(code)
    assert caught.value.field == "code"


def test_a_shown_picture_no_family_could_take_costs_neither_words_nor_session():
    async def go():
        env = environment()
        await env.reset()
        (first,) = await turn(
            env,
            "import numpy; kept = 7; print('before')\n"
            "show(numpy.zeros((4, 3000))); show(numpy.zeros((40, 30)))",
        )
        (second,) = await turn(env, "kept")
        await env.close()
        return first, second

    first, second = asyncio.run(go())
    assert len(first.outcomes[0].handles) == 1
    assert first.text.startswith("before")
    assert "picture 1 is not shown: " in first.text
    assert second.text == "7"


def test_the_toolbox_s_own_deadline_holds_too(kept):
    store = Store()
    box = Toolbox([tool()], seconds=1.5)
    from vtool.message import ToolCall

    calls = [ToolCall("python", {"code": "import time; time.sleep(9)"})]
    start = time.monotonic()
    run = box.run(calls, store, Hermes(), lambda h: None, belongings=kept)
    assert code_of(asyncio.run(run)[0]) == "timeout"
    assert time.monotonic() - start < 4


def test_it_conforms():
    check_tool(python.set(**LEAN), {"code": "print(1)"})
    check_environment(lambda: environment(), Hermes())
    assert not python.spec.pure
    assert [p.name for p in python.spec.params] == ["code"]


@given(st.text(max_size=300), st.integers(2, 100))
def test_long_text_keeps_its_two_ends(text, most):
    got = clip(text, most)
    half = most // 2
    if len(text) <= most:
        assert got == text
    else:
        assert got.startswith(text[:half])
        assert got.endswith(text[len(text) - half :])
        assert f"{len(text) - 2 * half} characters" in got
