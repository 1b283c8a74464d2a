"""A miniature folder of every benchmark, in every layout that it is read in.

`MINIATURES[name]` holds one writer a layout, in the order of the benchmark's own list.
"""

import miniature_films as films
import miniature_pictures as pictures
import miniature_places as places

MINIATURES = {
    "activitynet_captions": (films.activitynet,),
    "blink": (pictures.blink,),
    "charades_sta": (films.charades_sta, films.charades_lines),
    "chartqa": (pictures.chartqa, pictures.chartqa_folder),
    "docvqa": (pictures.docvqa,),
    "gqa": (pictures.gqa, pictures.gqa_folder),
    "hrbench_4k": (pictures.hrbench("4k"), pictures.hrbench_tsv("4k")),
    "hrbench_8k": (pictures.hrbench("8k"), pictures.hrbench_tsv("8k")),
    "infovqa": (pictures.infovqa,),
    "longvideo_reason": (films.longvideo_reason, films.longvideo_reason_json),
    "longvideobench": (films.longvideobench, films.longvideobench_json),
    "lvbench": (films.lvbench,),
    "mme_realworld": (pictures.mme_realworld, pictures.mme_realworld_tsv),
    "mvbench": (films.mvbench,),
    "next_gqa_test": (films.next_gqa("test"),),
    "next_gqa_val": (films.next_gqa("val"),),
    "qvhighlights": (films.qvhighlights,),
    "realworldqa": (pictures.realworldqa,),
    "reasonseg_test": (places.reasonseg("test"),),
    "reasonseg_val": (places.reasonseg("val"),),
    "refspatial": (places.refspatial,),
    "robospatial_home": (places.robospatial,),
    "screenspot": (places.screenspot, places.screenspot_json("screenspot_imgs", "")),
    "screenspot_pro": (places.screenspot_pro, places.screenspot_pro_folder),
    "screenspot_v2": (places.screenspot, places.screenspot_json("screenspotv2_image", "_v2")),
    "tacos": (films.tacos,),
    "textvqa": (pictures.textvqa,),
    "videomme": (films.videomme,),
    "visualprobe": (pictures.visualprobe,),
    "vsibench": (films.vsibench, films.vsibench_lines),
    "vstar": (pictures.vstar, pictures.vstar_folder),
    **{
        f"{name}_{split}": (places.refcoco, places.refcoco_tsv)
        for name, split in (
            *((n, s) for n in ("refcoco", "refcocoplus") for s in ("val", "testA", "testB")),
            ("refcocog", "val"),
            ("refcocog", "test"),
        )
    },
}


def layouts():
    """All (benchmark, number of its layout)."""
    return [(name, at) for name in sorted(MINIATURES) for at in range(len(MINIATURES[name]))]


def write(name, at, folder):
    """Write one miniature and say where it lies."""
    MINIATURES[name][at](folder)
    return folder


def sheet(found, tasks):
    """A made-up answer to each question: right, right in a sentence, wrong, in turn."""
    answers = []
    for at, task in enumerate(tasks):
        right = next(iter(found.says(task)))
        answers.append((right, f"The answer is {right}", "(Z) 777")[at % 3])
    return answers
