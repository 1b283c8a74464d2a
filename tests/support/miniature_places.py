"""Miniatures of benchmarks on places in pictures: boxes, masks, points, clicks."""

import json

from miniature_files import mask_png, parquet, png, save, save_json, splits, text64, tsv

SIZE = (96, 64)


def refcoco(root, names=("val", "testA", "testB", "test")):
    for split in names:
        rows = [
            {
                "question_id": str(100 + i),
                "image": png(i, SIZE),
                "question": "Please carefully observe the area circled in the image",
                "answer": [f"{split} thing {i}", "the one in front"][: i + 1],
                "segmentation": [10.0, 8.0, 40.0, 8.0, 40.0, 30.0],
                "bbox": [10.5 + i, 8.0, 30.0, 22.25],
                "iscrowd": 0,
                "file_name": f"COCO_{i}.jpg",
            }
            for i in range(2)
        ]
        parquet(root / "data" / f"{split}-00000-of-00001.parquet", rows)
    splits(root, *((s, f"data/{s}-*") for s in names))


_NAMED = [
    *(f"RefCOCO{plus}_{split}" for plus in ("", "+") for split in ("val", "testA", "testB")),
    *("RefCOCOg_val", "RefCOCOg_test"),
]


def refcoco_tsv(root):
    rows = [
        {
            "index": i,
            "image": text64(png(i, SIZE)),
            "question": f"thing {i}",
            "answer": "[10, 8, 40, 30]",
            "split": split,
            "width": SIZE[0],
            "height": SIZE[1],
            "bbox_x1": 10.5,
            "bbox_y1": 8,
            "bbox_x2": 40.5,
            "bbox_y2": 30.25,
        }
        for i, split in enumerate(_NAMED)
    ]
    tsv(root / "RefCOCO.tsv", rows)


def reasonseg(split):
    def write(root):
        for i in range(3):
            shapes = [
                {"label": "target", "points": [[10, 8], [60.7, 8], [60, 50], [10, 50]]},
                {"label": "ignore", "points": [[20, 20], [30, 20], [30, 30], [20, 30]]},
                {"label": "flag", "points": [[0, 0], [1, 1], [2, 0]]},
            ]
            body = {
                "text": [f"the part {i} that one would hold", "what is held"],
                "is_sentence": bool(i % 2),
                "shapes": shapes[: i + 1],
            }
            save(root / split / f"{i}.jpg", png(i, SIZE))
            coded = json.dumps(body, ensure_ascii=False).replace("hold", "hold – so")
            # Some of the published files are not UTF-8.
            save(root / split / f"{i}.json", coded.encode("cp1252" if i else "utf-8"))

    return write


def refspatial(root):
    for split in ("location", "placement", "unseen"):
        rows = [
            {
                "id": i,
                "object": f"cup {i}",
                "prompt": f"Please point out the {split} cup {i}.",
                "suffix": "Your answer should be formatted as a list of tuples, i.e. [(x1, y1)].",
                "image": png(i, SIZE),
                "mask": mask_png(SIZE, mode="RGB" if i else "L"),
                "step": i + 1,
            }
            for i in range(2)
        ]
        parquet(root / "data" / f"{split}-00000-of-00001.parquet", rows)
    names = ("location", "placement", "unseen")
    splits(root, *((s, f"data/{s}-*") for s in names))


def robospatial(root):
    asked = {
        "configuration": ("Is the chair {} left of the table? Answer yes or no.", ["yes", "no"]),
        "compatibility": ("Can the box {} fit on the shelf? Answer yes or no.", ["no", "Yes"]),
        "context": (
            "Pinpoint several points within the vacant space left of cup {}. Your answer should "
            "be formatted as a list of tuples, i.e. [(x1, y1), ...], where each tuple contains the "
            "x and y coordinates of a point satisfying the conditions above. The coordinates "
            "should be between 0 and 1, indicating the normalized pixel locations of the points.",
            ["[(0.2, 0.3), (0.25, 0.4)]", "[(0.3, 0.3)]"],
        ),
    }
    for category, (question, answers) in asked.items():
        rows = [
            {
                "category": category,
                "question": question.format(i),
                "answer": answer,
                "img": png(i, SIZE),
                "depth_image": mask_png(SIZE),
                "mask": mask_png(SIZE),
            }
            for i, answer in enumerate(answers)
        ]
        parquet(root / "data" / f"{category}-00000-of-00001.parquet", rows)
    splits(root, *((s, f"data/{s}-*") for s in asked))


_SOURCES = ("windows", "ios", "shop")


def screenspot(root):
    rows = [
        {
            "file_name": f"pc_{i}.png",
            "bbox": [0.25, 0.125, 0.5 + i / 10, 0.375],
            "instruction": f"open menu {i}",
            "data_type": "text" if i else "icon",
            "data_source": source,
            "image": png(i, SIZE),
        }
        for i, source in enumerate(_SOURCES)
    ]
    parquet(root / "data" / "test-00000-of-00001.parquet", rows)
    splits(root, ("test", "data/test-*"))


def screenspot_json(folder, suffix):
    def write(root):
        for i, platform in enumerate(("mobile", "desktop", "web")):
            name = f"{platform}_{i}.png"
            row = {
                "img_filename": name,
                "bbox": [10, 8, 30, 22],
                "instruction": f"open menu {i}",
                "data_type": "text" if i else "icon",
                "data_source": _SOURCES[i],
            }
            save(root / folder / name, png(i, SIZE))
            save_json(root / f"screenspot_{platform}{suffix}.json", [row])

    return write


def _pro(i):
    return {
        "id": f"word_windows_{i}",
        "instruction": f"insert table {i}",
        "ui_type": "icon" if i else "text",
        "group": ("Office", "CAD")[i],
        "platform": "windows",
        "application": "word",
    }


def screenspot_pro(root):
    rows = [
        {**_pro(i), "image": png(i, SIZE), "bbox": "[10, 8, 40, 30]", "img_size": "[96, 64]"}
        for i in range(2)
    ]
    parquet(root / "data" / "test-00000-of-00001.parquet", rows)
    splits(root, ("test", "data/test-*"))


def screenspot_pro_folder(root):
    for i in range(2):
        row = {
            **_pro(i),
            "img_filename": f"word_windows/{i}.png",
            "bbox": [10, 8, 40, 30],
            "img_size": list(SIZE),
            "gt_type": "positive",
            "instruction_style": "instruction",
            "language": "en",
        }
        save(root / "images" / row["img_filename"], png(i, SIZE))
        save_json(root / "annotations" / f"app_{i}.json", [row])
