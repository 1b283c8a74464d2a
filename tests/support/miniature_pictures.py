"""Miniatures of benchmarks on pictures: choices and words.

Every question, answer and picture is made up here; only names of files and columns are those of
the published ones.
"""

from miniature_files import (
    card,
    parquet,
    png,
    save,
    save_json,
    save_lines,
    splits,
    text64,
    tsv,
)

TEST = "test-00000-of-00001.parquet"
OPTIONS = ("red", "green", "blue", "yellow")


def _vstar(image):
    kinds = ("direct_attributes", "relative_position", "direct_attributes")
    return [
        {
            "image": image(kind, i),
            "text": f"What is the color of mug {i}? (A) red (B) green (C) blue (D) yellow\n"
            "Answer with the option's letter from the given choices directly.",
            "category": kind,
            "label": "ABD"[i],
            "question_id": str(i // 2),
        }
        for i, kind in enumerate(kinds)
    ]


def vstar(root):
    rows = _vstar(lambda kind, i: png(i))
    for row in rows:  # the hub's copy asks nothing after its options
        row["text"] = row["text"].partition("\n")[0]
    parquet(root / "data" / TEST, rows)
    splits(root, ("test", "data/test-*"))


def vstar_folder(root):
    rows = _vstar(lambda kind, i: f"{kind}/sa_{i}.jpg")
    for i, row in enumerate(rows):
        save(root / row["image"], png(i))
    save_lines(root / "test_questions.jsonl", rows)


def _hr(size):
    texts = ("one", "two", "three", "four")
    rows = []
    for turn in range(4):
        options = texts[turn:] + texts[:turn]
        rows.append(
            {
                "index": turn,
                "question": f"How many ducks are on the pond {size}?",
                "answer": "ABCD"[options.index("two")],
                "category": "single" if turn < 2 else "cross",
                **dict(zip("ABCD", options, strict=True)),
                "cycle_category": f"{turn}-cycle",
                "image": text64(png(turn)),
            }
        )
    return rows


def hrbench(size):
    def write(root):
        for each in ("4k", "8k"):
            parquet(root / f"hr_bench_{each}.parquet", _hr(each))
        text = "".join(
            f"  - split: hrbench_{s}\n    path: hr_bench_{s}.parquet\n" for s in ("4k", "8k")
        )
        head = f"---\nconfigs:\n- config_name: hrbench_version_split\n  data_files:\n{text}---\n"
        save(root / "README.md", head.encode())

    return write


def hrbench_tsv(size):
    return lambda root: tsv(root / f"hr_bench_{size}.tsv", _hr(size))


def blink(root):
    for task in ("Art_Style", "Counting"):
        several = task == "Art_Style"
        rows = [
            {
                "idx": f"val_{task}_{i + 1}",
                "question": f"Which {i}?",
                "sub_task": task,
                "image_1": png(i),
                "image_2": png(i + 10) if several else None,
                "image_3": png(i + 20, size=(40, 30)) if several and i else None,
                "image_4": None,
                "choices": ["the second image", "the third image"] if several else ["1", "2", "3"],
                "answer": "(B)" if i else "(A)",
                "prompt": f"Look at {task} {i}. Which is it?\nSelect from the following choices.\n"
                "(A) one\n(B) other",
            }
            for i in range(2)
        ]
        parquet(root / task / "val-00000-of-00001.parquet", rows)
    card(root, *((t, "val", f"{t}/val-*") for t in ("Art_Style", "Counting")))


def realworldqa(root):
    briefly = "\nPlease answer directly with a single word or number."
    letter = "\nPlease answer directly with only the letter of the correct option."
    asked = (
        ("Which way does the arrow point?\nA. left\nB. right\nC. up" + letter, "B"),
        ("How many lamps are lit?" + briefly, "3"),
        ("Is the road going up or down?" + briefly, "Downhill"),
    )
    rows = [{"image": png(i), "question": q, "answer": a} for i, (q, a) in enumerate(asked)]
    parquet(root / "data" / TEST, rows)
    splits(root, ("test", "data/test-*"))


def _mme(i):
    return {
        "index": i,
        "question": f"What is written on sign {i}?",
        "answer": "BEA"[i],
        "category": ("Perception/OCR", "Reasoning/Monitoring", "Perception/Maps")[i],
        "l2-category": ("text", "count", "position")[i],
    }


_MME = ["(A) go", "(B) stop", "(C) left", "(D) right", "(E) The image does not feature the sign."]


def mme_realworld(root):
    rows = [{**_mme(i), "multi-choice options": _MME, "bytes": text64(png(i))} for i in range(3)]
    parquet(root / "data" / "train-00000-of-00001.parquet", rows)
    splits(root, ("train", "data/train-*"))


def mme_realworld_tsv(root):
    rows = [
        {**_mme(i), **{c: o[4:] for c, o in zip("ABCDE", _MME, strict=True)},
         "image": text64(png(i))}
        for i in range(3)
    ]  # fmt: skip
    tsv(root / "MME-RealWorld.tsv", rows)


_CHARTS = (
    ("How many sold in May?", "42", "human_test"),
    ("Which year was best?", "2019", "augmented_test"),
    ("What share is blue?", "12.5%", "augmented_test"),
)


def chartqa(root):
    rows = [
        {"type": kind, "question": q, "answer": a, "image": png(i)}
        for i, (q, a, kind) in enumerate(_CHARTS)
    ]
    parquet(root / "data" / TEST, rows)
    splits(root, ("test", "data/test-*"))


def chartqa_folder(root):
    for kind in ("human", "augmented"):
        rows = [
            {"imgname": f"{kind}_{i}.png", "query": q, "label": a}
            for i, (q, a, which) in enumerate(_CHARTS)
            if which.startswith(kind)
        ]
        for i, row in enumerate(rows):
            save(root / "test" / "png" / row["imgname"], png(i))
        save_json(root / "test" / f"test_{kind}.json", rows)


def _document(config, extra):
    def write(root):
        for name in ("DocVQA", "InfographicVQA"):
            rows = [
                {
                    "questionId": str(400 + i),
                    "question": f"What is the total of {name} {i}?",
                    "image": png(i),
                    "answers": [["$ 1,200", "1200"], ["Paris"], ["7 June"]][i],
                    **extra(i),
                }
                for i in range(3)
            ]
            parquet(root / name / "validation-00000-of-00001.parquet", rows)
        names = ("DocVQA", "InfographicVQA")
        card(root, *((n, "validation", f"{n}/validation-*") for n in names))

    return write


docvqa = _document("DocVQA", lambda i: {"docId": i, "data_split": "val"})
infovqa = _document("InfographicVQA", lambda i: {"answer_type": ["single span"]})


def textvqa(root):
    said = (
        ["nokia"] * 7 + ["Nokia phone"] * 3,
        ["12:30"] * 5 + ["12 30"] * 2 + ["noon"] * 3,
        ["two"] * 4 + ["2"] * 6,
    )
    rows = [
        {
            "image_id": f"i{i}",
            "question_id": 34600 + i,
            "question": f"what brand is phone {i}?",
            "image": png(i),
            "ocr_tokens": ["NOKIA", "x"],
            "answers": answers,
            "set_name": "val",
        }
        for i, answers in enumerate(said)
    ]
    parquet(root / "data" / "validation-00000-of-00001.parquet", rows)
    splits(root, ("validation", "data/validation-*"))


def gqa(root):
    asked = [
        {
            "id": f"2016{i}",
            "imageId": f"n{i % 2}",
            "question": f"Is the bowl {i} to the left?",
            "answer": ("no", "yes", "green apple")[i],
            "fullAnswer": "No, it is not.",
        }
        for i in range(3)
    ]
    shown = [{"id": f"n{i}", "image": png(i)} for i in range(2)]
    for part, rows in (("instructions", asked), ("images", shown)):
        name = f"testdev_balanced_{part}"
        parquet(root / name / "testdev-00000-of-00001.parquet", rows)
    parts = (f"testdev_balanced_{p}" for p in ("instructions", "images"))
    card(root, *((p, "testdev", f"{p}/testdev-*") for p in parts))


def gqa_folder(root):
    asked = {
        f"2016{i}": {"imageId": f"n{i}", "question": f"Is it {i}?", "answer": ("no", "yes")[i]}
        for i in range(2)
    }
    for i in range(2):
        save(root / "images" / f"n{i}.jpg", png(i))
    save_json(root / "testdev_balanced_questions.json", asked)


def visualprobe(root):
    for level in ("Easy", "Medium", "Hard"):
        name = f"VisualProbe_{level}"
        rows = [
            {
                "doc_id": i,
                "images": [f"{name}/data/{i}.jpg"],
                "problem": f"<image>\nWhat is the number on the {level} bus {i}?",
                "solution": str(40 + i),
                "data_source": name.lower(),
            }
            for i in range(2)
        ]
        for i in range(2):
            save(root / name / "data" / f"{i}.jpg", png(i))
        save_json(root / name / "val.json", rows)
