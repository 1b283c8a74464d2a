"""Scripted engines: they say what they were told, and are engines like the others."""

import asyncio
import dataclasses
import subprocess
import sys

import numpy as np
import pytest

from vtool.engines.base import ChatEngine, Prompt, Request, TokenEngine
from vtool.engines.scripted import ScriptedChat, ScriptedEngine
from vtool.errors import EngineError
from vtool.message import Author, Message, Role, Text
from vtool.plain_codec import PlainCodec
from vtool.record import Finish, Sampling

CODEC = PlainCodec()
END = CODEC.token_id("<|im_end|>")


def request(*key, max_tokens=50, stop=(END,)):
    return Request(
        prompt=Prompt(np.array([1], dtype=np.int32)),
        sampling=Sampling(max_tokens=max_tokens),
        stop_ids=stop,
        key=key or (0,),
    )


def say(engine, *requests):
    async def all_of_them():
        return [await engine.generate(r) for r in requests]

    return asyncio.run(all_of_them())


def text(completion):
    return b"".join(CODEC.pieces(completion.ids.tolist())).decode()


def test_control_tokens_in_a_script_are_meant():
    engine = ScriptedEngine(["<tool_call>é</tool_call><|im_end|>"], CODEC)
    (done,) = say(engine, request())
    assert done.ids.tolist() == [
        CODEC.token_id("<tool_call>"),
        *"é".encode(),
        CODEC.token_id("</tool_call>"),
        END,
    ]
    assert done.finish is Finish.STOP
    assert done.logprobs.tolist() == [-1.0] * len(done.ids)
    assert done.logprobs.dtype == np.float32


def test_the_last_number_of_a_key_says_which_line():
    engine = ScriptedEngine(["one", "two"], CODEC, end=(END,), logprob=-0.5, version=3)
    said = say(engine, request(7, 1), request(7, 0), request(8, 0))
    assert [text(c) for c in said] == ["two<|im_end|>", "one<|im_end|>", "one<|im_end|>"]
    assert {c.version for c in said} == {3}
    assert [r.key for r in engine.requests] == [(7, 1), (7, 0), (8, 0)]


def test_a_mapping_gives_each_episode_its_own_lines():
    engine = ScriptedEngine({(1,): ["a"], (1, 2): ["b"], (2,): [[65, 66]]}, CODEC)
    said = say(engine, request(1, 0, 0), request(1, 2, 0), request(2, 5, 0))
    assert [text(c) for c in said] == ["a", "b", "AB"]


def test_a_function_sees_the_request():
    engine = ScriptedEngine(lambda r: f"key {r.key}", CODEC)
    assert text(say(engine, request(4, 2))[0]) == "key (4, 2)"


@pytest.mark.parametrize(
    ("line", "limit", "length", "finish"),
    [
        ("abcdef", 4, 4, Finish.LENGTH),
        ("abc", 4, 3, Finish.STOP),
        ("abc<|im_end|>", 4, 4, Finish.STOP),
        ("a<|im_end|>bc", 50, 2, Finish.STOP),
    ],
)
def test_limits_and_stops_cut_a_line(line, limit, length, finish):
    (done,) = say(ScriptedEngine([line], CODEC), request(max_tokens=limit))
    assert (len(done.ids), done.finish) == (length, finish)


@pytest.mark.parametrize(
    ("engine", "key", "said"),
    [
        (ScriptedEngine(["a"], CODEC), (0, 1), "1 lines, but line 2"),
        (ScriptedEngine({(3,): ["a"]}, CODEC), (0, 0), "no lines for key"),
        (ScriptedEngine(["a"]), (0,), "codec"),
        (ScriptedEngine([EngineError("the service is down")], CODEC), (0,), "is down"),
    ],
)
def test_a_script_that_ends_says_so(engine, key, said):
    with pytest.raises(EngineError, match=said):
        say(engine, request(*key))


def chat(engine, *messages):
    return asyncio.run(engine.chat(messages, None, (), Sampling()))


HELLO = Message(role=Role.USER, parts=(Text("hello"),), author=Author.USER)
REPLY = Message(role=Role.ASSISTANT, parts=(Text("one"),), author=Author.POLICY)


def test_a_chat_goes_line_by_line():
    engine = ScriptedChat(["one", "two"])
    assert chat(engine, HELLO) == "one"
    assert chat(engine, HELLO, REPLY) == "two"
    assert engine.asked == [(HELLO,), (HELLO, REPLY)]
    with pytest.raises(EngineError, match="line 3"):
        chat(engine, HELLO, REPLY, REPLY)
    assert chat(ScriptedChat(lambda messages: messages[-1].text), HELLO) == "hello"
    with pytest.raises(EngineError, match="down"):
        chat(ScriptedChat([EngineError("down")]), HELLO)


def test_they_are_engines_and_need_no_torch():
    assert isinstance(ScriptedEngine([]), TokenEngine)
    assert isinstance(ScriptedChat([]), ChatEngine)
    assert not ScriptedEngine([]).capabilities.logprobs
    assert dataclasses.is_dataclass(ScriptedEngine)
    code = "import sys, vtool.engines.scripted, vtool.engines.base; print('torch' in sys.modules)"
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert out.stdout.strip() == "False"
