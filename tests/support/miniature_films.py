"""Miniatures of benchmarks on videos: choices, quantities, moments."""

from miniature_files import (
    card,
    comma,
    film,
    parquet,
    save,
    save_json,
    save_lines,
    splits,
)

TEST = "test-00000-of-00001.parquet"


def videomme(root):
    rows = [
        {
            "video_id": f"{i + 1:03d}",
            "duration": ("short", "long", "long")[i],
            "domain": "Knowledge",
            "sub_category": "Astronomy",
            "url": "none",
            "videoID": f"v{i % 2}",
            "question_id": f"{i + 1:03d}-1",
            "task_type": ("Counting Problem", "OCR Problems", "OCR Problems")[i],
            "question": f"How many numbers does film {i} show?",
            "options": ["A. One.", "B. Two.", "C. Forty-eight.", "D. None."],
            "answer": "CBA"[i],
        }
        for i in range(3)
    ]
    parquet(root / "videomme" / TEST, rows)
    card(root, ("videomme", "test", "videomme/test-*"))
    film(root / "data" / "v0.mp4")
    film(root / "data" / "v1.mp4", 6)
    spoken = (
        "1\n00:00:01,000 --> 00:00:03,500\nthe first words\n\n2\n00:00:04,000 --> 00:00:05,000\n"
    )
    save(root / "subtitle" / "v0.srt", (spoken + "and more\n").encode())


def _lvb(i):
    options = ["a red hat", "a blue hat", "a green hat", "a scarf", "N/A"]
    return {
        "video_id": f"u{i}",
        "question": f"What does the woman {i} wear when the number changes?",
        "question_wo_referring_query": "What does the woman wear?",
        "correct_choice": (1, 3)[i],
        "id": f"u{i}_0",
        "video_path": f"u{i}.mp4",
        "subtitle_path": f"u{i}_en.json",
        "duration_group": (15, 600)[i],
        "question_category": ("S2E", "TOS")[i],
        "topic_category": "KA",
        "starting_timestamp_for_subtitles": 0.5,
        "duration": 12.0,
        "view_count": 7,
    }, options


def longvideobench(root):
    rows = []
    for i in range(2):
        row, options = _lvb(i)
        rows.append({**row, **{f"option{n}": o for n, o in enumerate(options)}})
        film(root / "videos" / f"u{i}.mp4")
    parquet(root / "validation-00000-of-00001.parquet", rows)
    splits(root, ("validation", "validation-*"))


def longvideobench_json(root):
    rows = []
    for i in range(2):
        row, options = _lvb(i)
        rows.append({**row, "candidates": options[: 4 + i]})
        film(root / "videos" / f"u{i}.mp4")
    save_json(root / "lvb_val.json", rows)


def mvbench(root):
    asked = {
        "action_antonym": ("ssv2_video_mp4", {}),
        "moving_count": ("clevrer/video_validation", {}),
        "action_sequence": ("star/Charades_segment", {"start": 2.0, "end": 6.5}),
    }
    for task, (folder, more) in asked.items():
        rows = [
            {
                "video": f"{i}.mp4",
                "question": f"What happens in {task} {i}?",
                "candidates": ["It rises.", "It falls.", "Not sure."],
                "answer": ("It falls.", "It rises.")[i],
                **more,
            }
            for i in range(2)
        ]
        save_json(root / "json" / f"{task}.json", rows)
        for i in range(2):
            film(root / folder / f"{i}.mp4")
    card(root, *((t, "train", f"json/{t}.json") for t in asked))


def lvbench(root):
    rows = [
        {
            "video_path": f"l{i}.mp4",
            "question": f"What year is on the coin {i}?\n(A) 1636\n(B) 1366\n(C) 1363\n(D) 1633",
            "answer": "DB"[i],
            "question_type": [["key information retrieval"], ["reasoning", "summarization"]][i],
            "time_reference": "00:01-00:04",
            "uid": str(i),
        }
        for i in range(2)
    ]
    parquet(root / "data" / "train-00000-of-00001.parquet", rows)
    splits(root, ("train", "data/train-*"))
    for i in range(2):
        film(root / f"l{i}.mp4")


def _vsi():
    asked = (
        ("object_counting", "How many chairs are in this room?", None, "4"),
        ("object_abs_distance", "How far is the sofa from the door, in meters?", None, "2.4"),
        ("object_rel_distance", "Which is closest to the stove?", "sofa,lamp,door,tv", "B"),
        ("object_rel_direction_easy", "Is the tv to my left?", "left,right", "A"),
        ("object_rel_direction_hard", "Is the bed behind me?", "front-left,back,right,left", "D"),
        ("obj_appearance_order", "What comes first?", "tv bed,bed tv,sofa tv,tv sofa", "C"),
    )
    for i, (kind, question, options, gold) in enumerate(asked):
        listed = options.split(",") if options else None
        yield {
            "id": i,
            "dataset": ("scannet", "arkitscenes")[i % 2],
            "scene_name": f"scene{i % 2}",
            "question_type": kind,
            "question": question,
            "options": [f"{c}. {o}" for c, o in zip("ABCD", listed, strict=False)]
            if listed
            else None,
            "ground_truth": gold,
            "pruned": bool(i % 2),
        }


def _rooms(root):
    film(root / "scannet" / "scene0.mp4")
    film(root / "arkitscenes" / "scene1.mp4")


def vsibench(root):
    parquet(root / TEST, list(_vsi()))
    card(root, ("full", "test", "test-*"))
    _rooms(root)


def vsibench_lines(root):
    save_lines(root / "test.jsonl", list(_vsi()))
    _rooms(root)


def _reason(root, folder):
    rows = [
        {
            "problem_id": i,
            "problem": f"Why does the counter {i} rise?\nA. It counts frames.\nB. By chance.\n"
            "C. It is paid to.\nD. It does not.\n",
            "data_type": "video",
            "problem_type": ("temporal", "goal", "plot")[i],
            "reasoning": "it counts",
            "videos": f"longvila_videos/r{i}.mp4",
            "answer": f"<answer>{'ACB'[i]}</answer>",
        }
        for i in range(3)
    ]
    rows[2]["problem"] = "Who is counting?\n\n"  # a few of the published ones lack their options
    for i in range(3):
        film(root / folder(i) / f"r{i}.mp4")
    return rows


def longvideo_reason(root):
    parquet(root / "data" / TEST, _reason(root, lambda i: "longvila_videos"))
    splits(root, ("test", "data/test-*"))


def longvideo_reason_json(root):
    rows = _reason(root, lambda i: f"longvideo_eval_subset{i}")
    save_json(root / "LongVideoReason_test_fixed.json", rows)


_SAID = (
    ("c0", 0.0, 5.8, "person opens the door"),
    ("c0", 4.25, 11.0, "person sits down on a chair"),
    ("c1", 2.0, 3.5, "person laughs"),
)


def _homes(root):
    for name in ("c0", "c1"):
        film(root / "Charades_v1_480" / f"{name}.mp4")


def charades_sta(root):
    rows = [
        {"video": f"{v}.mp4", "caption": text, "timestamp": [start, end]}
        for v, start, end, text in _SAID
    ]
    parquet(root / "data" / TEST, rows)
    splits(root, ("test", "data/test-*"))
    _homes(root)


def charades_lines(root):
    lines = "".join(f"{v} {start} {end}##{text}.\n" for v, start, end, text in _SAID)
    save(root / "charades_sta_test.txt", lines.encode())
    _homes(root)


def activitynet(root):
    body = {
        "v_a": {
            "duration": 11.9,
            "timestamps": [[0.5, 4.0], [3.0, 13.2], [9.0, 2.0]],
            "sentences": ["A man counts. ", "He goes on.", "Turned round."],
        },
        "v_b": {"duration": 6.0, "timestamps": [[1, 2]], "sentences": [" It stops."]},
    }
    save_json(root / "val_1.json", body)
    film(root / "videos" / "v_a.mp4")
    film(root / "videos" / "v_b.mkv", 6)


def tacos(root):
    body = {
        "s13-d21.avi": {
            "timestamps": [[8, 20], [12, 40], [30, 30]],
            "sentences": ["The person takes a knife.", "He cuts.", "Nothing."],
            "fps": 4.0,
            "num_frames": 48,
        }
    }
    save_json(root / "test.json", body)
    film(root / "videos" / "s13-d21.avi")


def qvhighlights(root):
    rows = [
        {
            "qid": 2579 + i,
            "query": f"The counter shows {i}.",
            "duration": 12,
            "vid": f"q{i}_60.0_72.0",
            "relevant_clip_ids": [[1, 2], [0, 3, 4]][i],
            "saliency_scores": [[[2, 3, 4], [4, 4, 3]], [[1, 1, 1], [2, 2, 2], [3, 3, 3]]][i],
            "relevant_windows": [[[2, 6]], [[0, 2], [6, 10]]][i],
        }
        for i in range(2)
    ]
    save_lines(root / "highlight_val_release.jsonl", rows)
    for row in rows:
        film(root / "videos" / f"{row['vid']}.mp4")


def next_gqa(split):
    def write(root):
        options = ["to rest", "to count", "to sing", "to run", "to eat"]
        rows = [
            {
                "video_id": f"44010{i}",
                "frame_count": 48,
                "width": 64,
                "height": 48,
                "question": f"why does the counter rise {i}",
                "answer": options[i + 1],
                "qid": i,
                "type": ("CW", "TN", "CH")[i],
                **{f"a{n}": o for n, o in enumerate(options)},
            }
            for i in range(3)
        ]
        comma(root / f"{split}.csv", rows)
        spans = {
            "440100": {"duration": 12, "fps": 4, "location": {"0": [[1.0, 4.5], [7.0, 9.0]]}},
            "440101": {"duration": 12, "fps": 4, "location": {"1": [[0.0, 2.25]]}},
        }
        save_json(root / f"gsub_{split}.json", spans)
        for i in range(2):
            film(root / "videos" / f"44010{i}.mp4")

    return write
