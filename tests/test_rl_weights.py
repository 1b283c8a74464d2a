"""What is written beside trained weights."""

from vtool.rl.recipe import load_recipe
from vtool.rl.weights import save_final

from vtool.families.vlm import VLM
from vtool.loading import tools_of
from vtool.pairs import RenderSettings
from vtool.shipped import shipped


def test_tools_are_those_of_the_recipe_whatever_the_start_knew(tmp_path):
    start = shipped("tiny/weak")
    vlm = VLM.load(start)
    save_final(vlm, start, tmp_path / "same", load_recipe("zoom"))
    assert (tmp_path / "same/vtool.json").read_bytes() == (start / "vtool.json").read_bytes()
    other = load_recipe("zoom", ("tools=[zoom, {rotate: {}}]",))
    save_final(vlm, start, tmp_path / "other", other)
    assert tools_of(tmp_path / "other") == ("zoom", "rotate")
    told, began = RenderSettings.read(tmp_path / "other"), RenderSettings.read(start)
    assert (told.announce, told.dialect, told.clips) == (began.announce, began.dialect, began.clips)
