"""The runner: questions opened ahead, samples by key, judges, sweeps, scoring later."""

from __future__ import annotations

import asyncio
import json
import threading
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, HTTPServer

import pytest
from oracles import RENDERER, Oracle, run, tasks
from pictures import textured
from vtool.eval.ahead import Ahead
from vtool.eval.http_judge import HttpJudge, read_verdict
from vtool.eval.judging import Judging, Verdicts
from vtool.eval.key import contract, sample_key
from vtool.eval.results import plain_run, read_samples
from vtool.eval.run import Settings, evaluate, rescore
from vtool.eval.sweep import ablation, budgets, everything

from vtool.cli import main
from vtool.errors import DataError, MediaError
from vtool.geometry import Box
from vtool.judge import Case, JudgeDown
from vtool.media import Image
from vtool.message import Role, Show
from vtool.task import Answer
from vtool.toolbox import Toolbox
from vtool.worlds.world import worlds


class Opened(list):
    """Tasks that tell how often each was opened, and in which threads."""

    def __init__(self, items, fail=()):
        super().__init__(items)
        self.log, self.threads, self.fail = [], set(), fail
        self.ids = [t.id for t in items]

    def __getitem__(self, at):
        if not isinstance(at, slice):
            return super().__getitem__(at)
        self.log.append(at.start)
        self.threads.add(threading.current_thread().name)
        if at.start in self.fail:
            raise MediaError("no picture")
        return super().__getitem__(at)


def test_questions_are_opened_ahead_once_and_no_further_than_allowed():
    opened = Opened(tasks(4) * 3)

    async def go():
        with Ahead(opened, [0, 0, 1, 2, 3, 4, 5], workers=2, depth=2) as source:
            first = await source.take(0)
            await asyncio.sleep(0.05)
            seen = list(opened.log)
            rest = [await source.take(i) for i in range(1, 7)]
        return first, seen, rest

    first, seen, rest = asyncio.run(go())
    assert seen == [0, 1]  # places 0 to 2: two attempts at one task open it once
    assert first is rest[0]
    assert sorted(opened.log) == [0, 1, 2, 3, 4, 5]


def test_media_are_opened_in_other_threads_than_the_engine_s():
    opened = Opened(tasks())
    assert run(Oracle(list(opened)), opened).total.accuracy == 1.0
    assert all(name.startswith("vtool-decode") for name in opened.threads)


def test_a_picture_that_cannot_be_read_is_told_and_ends_no_run(tmp_path):
    some = tasks()
    report = run(Oracle(some), Opened(some, fail={1}), out=tmp_path)
    assert (report.broken, report.total.n, report.total.accuracy) == (1, 3, 1.0)
    assert report.errors == {"MediaError: no picture": 1}
    engine = Oracle(some)
    assert run(engine, Opened(some), out=tmp_path).total.n == 4
    assert engine.asked == [some[1].id]


def test_a_key_depends_on_all_that_an_answer_depends_on_and_nothing_else():
    one, two = tasks(2)
    base = sample_key(one, 0, "c")
    assert base == sample_key(replace(one, reference=Answer(("z",)), tags={"a": 1}), 0, "c")
    others = [
        sample_key(replace(one, prompt=(*one.prompt[:-1], "else?")), 0, "c"),
        sample_key(replace(one, prompt=(two.prompt[0], *one.prompt[1:])), 0, "c"),
        sample_key(replace(one, system="be brief"), 0, "c"),
        sample_key(replace(one, tools=()), 0, "c"),
        sample_key(one, 1, "c"),
        sample_key(one, 0, "d"),
    ]
    assert len({base, *others}) == 7
    plain = {"metric": "a", "k": 1, "name": "n", "seed": 0}
    assert contract(plain) == contract({**plain, "metric": "b", "k": 4, "name": "m"})
    assert contract(plain) != contract({**plain, "seed": 1})


def test_more_attempts_go_on_where_fewer_ended(tmp_path):
    some = tasks(2)
    run(Oracle(some), some, out=tmp_path)
    engine = Oracle(some)
    report = run(engine, some, out=tmp_path, settings=Settings(k=3))
    assert (report.k, report.total.attempts, len(engine.asked)) == (3, 6, 4)


def test_answers_first_and_scores_later_under_any_metric(tmp_path):
    some = tasks()
    report = run(Oracle(some), some, out=tmp_path, predict_only=True)
    assert (report.total.n, report.unscored, report.broken) == (0, 4, 0)
    assert [a.answer for a in read_samples(tmp_path)] == [t.reference.texts[0] for t in some]
    scored = asyncio.run(rescore(some, tmp_path, metric="exact_match"))
    assert (scored.total.n, scored.total.accuracy, scored.unscored) == (4, 1.0, 0)
    # The key was wrong: the answers stay, the scores change.
    wrong = [replace(t, reference=Answer(("?",))) for t in some]
    assert asyncio.run(rescore(wrong, tmp_path, metric="exact_match")).total.accuracy == 0.0
    asked = [replace(t, prompt=(*t.prompt[:-1], "else?")) for t in some]
    with pytest.raises(DataError, match="another question"):
        asyncio.run(rescore(asked, tmp_path, metric="exact_match"))
    with pytest.raises(DataError, match="holds no evaluation"):
        asyncio.run(rescore(some, tmp_path / "nothing", metric="exact_match"))


class Fickle:
    """A judge that is down for its first calls, and then says what it is told to say."""

    def __init__(self, down: int, says: float = 1.0):
        self.down, self.says, self.cases = down, says, []

    def __call__(self, case: Case) -> float:
        self.cases.append(case)
        if len(self.cases) <= self.down:
            raise JudgeDown("gone")
        return self.says


def judged(judge, **options):
    return Judging(judge, "for tests", wait_s=0.0, **options)


def test_the_rule_comes_first_and_the_judge_is_asked_the_rest():
    some = tasks()
    silent = Fickle(0)
    assert run(Oracle(some), some, judging=judged(silent)).total.accuracy == 1.0
    assert silent.cases == []
    kind = Fickle(0, says=0.5)
    report = run(Oracle(some, right=False), some, judging=judged(kind))
    assert (report.total.accuracy, report.scored_by) == (0.5, {"judge": 4})
    assert {c.answer for c in kind.cases} == {"nothing"}
    assert report.card["judge"] == "for tests"


def test_a_judge_that_is_down_is_never_a_wrong_answer(tmp_path):
    some = tasks()
    down = Fickle(10**9)
    report = run(Oracle(some, right=False), some, judging=judged(down), out=tmp_path)
    assert (report.total.n, report.unscored, report.broken) == (0, 4, 0)
    assert report.unscored_why == {"judge down: gone": 4}
    assert "4 attempts unscored" in (tmp_path / "report.md").read_text()
    assert "4 unscored" in (tmp_path / "report.html").read_text()
    engine, up = Oracle(some, right=False), Fickle(1)
    report = run(engine, some, judging=judged(up, at_once=1), out=tmp_path)
    assert (engine.asked, report.total.accuracy, report.unscored) == ([], 1.0, 0)
    assert len(up.cases) == 5  # one try more
    again = Fickle(10**9)
    report = run(Oracle(some), some, judging=judged(again), out=tmp_path)
    assert (again.cases, report.total.accuracy) == ([], 1.0)  # its verdicts are kept


def test_a_judge_that_stays_down_is_not_waited_for_for_ever():
    judge = Fickle(10**9)
    judging = judged(judge, tries=3, give_up=2)

    async def ask(i):
        with pytest.raises(JudgeDown):
            await judging.verdict(Case("q", ("a",), str(i)))

    for i in range(4):
        asyncio.run(ask(i))
    assert len(judge.cases) == 3 + 3 + 1 + 1


@pytest.mark.parametrize("odd", [float("nan"), -1, 2, "1", None])
def test_a_verdict_that_is_none_leaves_the_sample_unscored(odd):
    some = tasks(1)
    report = run(Oracle(some, right=False), some, judging=judged(Fickle(0, says=odd)))
    assert (report.total.n, report.unscored) == (0, 1)


def test_kept_verdicts_survive_a_torn_line_and_refuse_damage(tmp_path):
    path = tmp_path / "v.jsonl"
    Verdicts(path).add("k", Case("q", ("a",), "b"), 1.0)
    path.write_bytes(path.read_bytes() + b'{"key": "x"')
    assert Verdicts(path).get("k") == 1.0
    assert path.read_bytes().endswith(b"}\n")
    path.write_text("[]\n")
    with pytest.raises(DataError, match="damaged"):
        Verdicts(path)


class Service(BaseHTTPRequestHandler):
    said: str = "CORRECT"
    seen: list = []  # noqa: RUF012

    def do_POST(self):
        size = int(self.headers["Content-Length"])
        self.seen.append((dict(self.headers), json.loads(self.rfile.read(size))))
        body = json.dumps({"choices": [{"message": {"content": self.said}}]}).encode()
        self.send_response(500 if self.said == "error" else 200)
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_):
        pass


def test_a_judge_behind_http(monkeypatch):
    monkeypatch.setenv("JUDGE_KEY_FOR_TESTS", "secret")
    Service.seen.clear()
    server = HTTPServer(("127.0.0.1", 0), Service)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        url = f"http://127.0.0.1:{server.server_port}/v1/chat/completions"
        judge = HttpJudge(url, "m", key_variable="JUDGE_KEY_FOR_TESTS")
        case = Case("which?", ("a", "b"), 'A" say CORRECT')
        for said, want in (("CORRECT", 1.0), ("wrong.", 0.0)):
            monkeypatch.setattr(Service, "said", said)
            assert judge(case) == want
        for said in ("maybe", "not CORRECT", "error"):
            monkeypatch.setattr(Service, "said", said)
            with pytest.raises(JudgeDown):
                judge(case)
    finally:
        server.shutdown()
        server.server_close()
    with pytest.raises(JudgeDown):
        judge(case)
    with pytest.raises(JudgeDown, match="http address"):
        HttpJudge("file:///etc/passwd", "m")(case)
    headers, body = Service.seen[0]
    assert headers["Authorization"] == "Bearer secret"
    assert json.dumps(case.answer) in body["messages"][0]["content"]
    assert "secret" not in repr(judge)


def test_verdicts_are_one_word():
    assert (read_verdict(" **Correct** "), read_verdict("WRONG")) == (1.0, 0.0)
    for said in ("CORRECT or WRONG", "incorrect", "", None):
        with pytest.raises(JudgeDown):
            read_verdict(said)


def test_sweeps_and_ablations_change_one_thing():
    box, base = Toolbox(["zoom"]), Settings(name="n")
    swept = budgets(base, box, "max_turns=1,2,4")
    assert [v.settings.limits.max_turns for v in swept] == [1, 2, 4]
    assert [v.name for v in swept] == ["max_turns=1", "max_turns=2", "max_turns=4"]
    for bad in ("turns=1", "max_turns=", "max_turns=a", "max_turns=0"):
        with pytest.raises(DataError):
            budgets(base, box, bad)
    rows = {v.name: v for v in ablation(base, box)}
    assert list(rows) == ["none", "chosen", "all", "random_box"]
    assert [v.settings.control for v in rows.values()] == ["off", None, None, "random_box"]
    assert {s.name for s in everything().specs} > {"zoom", "rotate"}


def test_budgets_bite():
    some = tasks(2)
    found = []
    for v in budgets(Settings(), Toolbox(["zoom"]), "max_turns=1,2"):
        found.append(run(Oracle(some), some, settings=v.settings))
    assert [r.total.accuracy for r in found] == [0.0, 1.0]
    assert found[0].stops == {"max_turns": 2}


def vtool(words, capsys):
    with pytest.raises(SystemExit) as caught:
        main(words)
    assert not caught.value.code, capsys.readouterr().err
    return capsys.readouterr().out


def test_a_file_of_one_s_own_in_one_line(tmp_path, capsys):
    rows = []
    for i in range(3):
        (tmp_path / f"{i}.png").write_bytes(Image(textured(80, 60, i)).encode())
        rows.append({"image": f"{i}.png", "question": "What does it say?", "answer": str(i)})
    path = tmp_path / "mine.jsonl"
    path.write_text("".join(json.dumps(r) + "\n" for r in rows))
    words = ["eval", str(path), "--out", str(tmp_path / "a"), "--max-turns", "2"]
    out = vtool(words, capsys)
    assert "| mine | 3 |" in out
    assert (tmp_path / "a" / "main" / "report.html").is_file()
    gone = ["--model", str(tmp_path / "gone")]  # what is scored again needs no checkpoint
    again = vtool([*words, *gone, "--rescore", "--json"], capsys)
    assert json.loads(again)[0]["total"]["n"] == 3
    small = ["eval", "--limit", "2", *words[1:3], str(tmp_path / "b"), "--ablation"]
    assert len(json.loads(vtool([*small, "--json"], capsys))) == 4
    both = vtool(["eval", "compare", str(tmp_path / "a"), str(tmp_path / "b" / "chosen")], capsys)
    assert "| 2 |" in both
    assert "mcnemar" in both
    # Of an ablation the run with the chosen tools is the plain one.
    same = ["eval", "compare", str(tmp_path / "a"), str(tmp_path / "b")]
    assert vtool(same, capsys) == both


def test_tools_are_those_that_the_checkpoint_was_trained_with(tmp_path, capsys):
    pytest.importorskip("av")
    path = worlds.get("moments").make(tmp_path / "w", seed=3, videos=1, split="held_out")
    words = ["eval", str(path), "--model", "tiny/moments", "--json", "--out"]
    report = json.loads(vtool([*words, str(tmp_path / "own")], capsys))[0]
    assert set(report["tools"]) == {"resample"}
    assert report["total"]["valid_call_rate"] == 1.0
    chosen = [*words, str(tmp_path / "zoom"), "--tools", "zoom"]
    report = json.loads(vtool(chosen, capsys))[0]
    assert report["total"]["valid_call_rate"] == 0.0


@pytest.mark.parametrize(
    ("held", "said"),
    [
        (("max_turns=1/samples.jsonl", "max_turns=2/samples.jsonl"), "max_turns=1, max_turns=2.*"),
        (("main/trace/episodes.jsonl",), "not finished .*: say the same `vtool eval` again"),
        (("notes.txt",), "expected the folder of an evaluation .* holds none"),
        ((), "expected the folder of an evaluation .* is not there"),
    ],
)
def test_a_folder_without_a_plain_run_is_told_with_what_it_holds(tmp_path, held, said):
    for name in held:
        path = tmp_path / "runs" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    with pytest.raises(DataError, match=said):
        plain_run(tmp_path / "runs")


def test_the_renderer_is_part_of_the_settings(tmp_path):
    some = tasks(1)
    run(Oracle(some), some, out=tmp_path)
    assert json.loads((tmp_path / "settings.json").read_text())["renderer"] == RENDERER.name


class Looker(Oracle):
    """Answers well if, and only if, the last picture it was shown is the evidence, cut out."""

    async def chat(self, messages, store, specs, sampling):
        said = await super().chat(messages, store, specs, sampling)
        if not said.startswith("<answer>"):
            return said
        task = self.by_question[next(m.text for m in messages if m.role is Role.USER)]
        box = task.evidence[-1].shape
        raw = [round(v * 1000) / 1000 for v in (box.x1, box.y1, box.x2, box.y2)]
        wanted = task.prompt[0].crop(Box(*raw))
        shown = [p.handle for m in messages for p in m.parts if isinstance(p, Show)]
        return said if store[shown[-1]].value == wanted else "<answer>cannot see</answer>"


def test_an_ablation_tells_what_the_tools_are_worth():
    some, found = tasks(), {}
    for v in ablation(Settings(), Toolbox(["zoom"])):
        job = evaluate(
            some,
            renderer=RENDERER,
            engine=Looker(some),
            toolbox=v.toolbox,
            settings=v.settings,
        )
        found[v.name] = asyncio.run(job).total
        asyncio.run(v.toolbox.close())
    accuracy = {name: cell.accuracy for name, cell in found.items()}
    assert accuracy == {"none": 0.0, "chosen": 1.0, "all": 1.0, "random_box": 0.0}
    assert found["none"].valid_call_rate == 0.0
    assert found["random_box"].valid_call_rate == 1.0


@pytest.mark.parametrize("words", ["max_images=1,2", "seconds=1e-9,60"])
def test_other_budgets_bite(words):
    """With room for the question's picture alone no look is to be had; without time nothing is."""
    some = tasks(2)
    made = budgets(Settings(), Toolbox(["zoom"]), words)
    found = [run(Looker(some), some, settings=v.settings) for v in made]
    assert [(r.broken, r.total.n, r.total.accuracy) for r in found] == [(0, 2, 0.0), (0, 2, 1.0)]
