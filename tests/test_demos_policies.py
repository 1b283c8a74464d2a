"""Who may be asked in the studio, and what each is offered."""

from types import SimpleNamespace

from vtool.demos.studio.policies import SCRIPT, Policies
from vtool.demos.studio.studio import ready_tools
from vtool.demos.studio.video_tab import VideoTab

from vtool.shipped import shipped


def test_who_looks_into_videos_is_offered_for_videos_the_one_that_does_nothing_else_first():
    policies = Policies(more=("mine/model",))
    pictures, videos = policies.names(), policies.names(video=True)
    assert pictures[:2] == ["mine/model", "tiny/clean"]
    assert "tiny/moments" not in pictures
    assert "tiny/joint" in pictures
    assert videos[:2] == ["mine/model", "tiny/moments"]
    assert "tiny/clean" not in videos
    assert pictures[-1] == videos[-1] == SCRIPT


def test_tools_follow_the_policy_that_is_chosen(monkeypatch):
    folder = str(shipped("tiny/weak"))
    tab = VideoTab.__new__(VideoTab)
    tab.studio = SimpleNamespace(policies=Policies(more=(folder, "owner/name")))
    offered = {n: tab.offered(n)["value"] for n in ("tiny/joint", folder, "owner/name", SCRIPT)}
    assert {"zoom", "stereo_depth", "depth_at", "segment"} <= set(offered["tiny/joint"])
    assert set(offered["tiny/joint"]) <= set(ready_tools())
    assert offered[folder] == ["zoom"]
    # Nobody goes to a hub because a name was chosen.
    assert offered["owner/name"] == offered[SCRIPT] == ["resample"]
