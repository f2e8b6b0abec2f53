"""Commands that run on damaged files. Owns the files of each, how often it is drawn, and what it must keep."""

from __future__ import annotations

from dataclasses import dataclass

_MODEL = ("--model", "toyworld:vlm", "--device", "cpu")
_SCENES = (*_MODEL, "--data", "scenes")
_BY_SCORES = ("--scores", "scores", "--tasks", "vqa")
_DATASETS = ("built", "toy", "found", "given", "pixels", "scenes")
_FORMATS = ("coco", "imagefolder", "labelstudio", "webdataset", "yolo-seg")
FORMER_VERSION = "0.1.0"
# A configuration that contradicts its weights fails wherever the model first meets it: that is transformers' to tell.
_OF_MODELS = ("model/*.safetensors", "model/[gpst]*.json", "model/*.jinja")
HUB = "HUB"


@dataclass(frozen=True)
class Scenario:
    """One command and what it reads.

    Args:
        name: unique name, for users.
        weight: relative frequency of being drawn.
        inputs: names in the stock, copied next to each other; the command runs in their folder.
        command: its arguments; HUB is replaced by a repository for this case only.
        spoilt: patterns of the files of which one is changed; None for all.
        version: version of datasetkit that it runs as.
        kept: files and folders that must be unchanged if the command fails.
        builds: folder that contains a dataset if it succeeds.
        is_published: whether the first input is published in the repository of this case before.

    """

    name: str
    weight: int
    inputs: tuple[str, ...]
    command: tuple[str, ...]
    spoilt: tuple[str, ...] | None = None
    version: str | None = None
    kept: tuple[str, ...] = ()
    builds: str | None = None
    is_published: bool = False


def _builds() -> list[Scenario]:
    end = ("--preset", "none", "--out", "out", "--json")
    coco = ("build", "coco", "--images", "coco/images")
    both = (*coco, "--instances", "coco/instances.json", "--captions", "coco/captions.json", *end)
    commands: list[tuple[str, int, tuple[str, ...], tuple[str, ...]]] = [
        ("coco", 10, ("coco",), both),
        ("coco, all captions", 5, ("coco",), (*both, "--caption", "all", "--splits", "train=.5,test=.5")),
        ("coco, instances", 3, ("coco",), (*coco, "--instances", "coco/instances.json", "--crowds", "ignore", *end)),
        ("coco, captions", 3, ("coco",), (*coco, "--captions", "coco/captions.json", *end)),
        *(
            (f"folder {kind}", 4, (f"folder_{kind}",), ("build", "folder", f"folder_{kind}", *end))
            for kind in ("txt", "csv", "jsonl", "parquet")
        ),
        (
            "folder json",
            3,
            ("folder_json",),
            ("build", "folder", "folder_json", "--metadata", "metadata.json", *end),
        ),
        ("parquet", 6, ("rows",), ("build", "parquet", "rows", *end)),
        (
            "parquet, objects",
            4,
            ("objects",),
            ("build", "parquet", "objects", "--ignore", "mask", "--ignore", "objects", *end),
        ),
        *(
            (f"parquet of {name}", 3, (name,), ("build", "parquet", name, *end))
            for name in ("built", "given", "scenes")
        ),
        ("webdataset", 8, ("shards",), ("build", "webdataset", "shards", "--ignore", "json", *end)),
        ("webdataset, built", 4, ("exported",), ("build", "webdataset", "exported", *end)),
        ("recipe", 5, ("recipe.yaml", "folder_csv"), ("build", "recipe", "recipe.yaml", "--out", "out", "--json")),
        ("recipe of a build", 3, ("toy",), ("build", "recipe", "toy/recipe.yaml", "--out", "out", "--json")),
    ]
    found = [
        Scenario(f"build {name}", weight, inputs, command, builds="out") for name, weight, inputs, command in commands
    ]
    parts = ("build", "toyworld", "--size-px", "64", "--count", "3", "--part-size", "1", "--preset", "none", "--json")
    former = (
        "build",
        "toyworld",
        "--preset",
        "none",
        "--size-px",
        "64",
        "--no-overlay",
        "--count",
        "6",
        "--part-size",
        "1",
    )
    models = ("--device", "cpu", "--out", "out", "--json")
    return [
        *found,
        Scenario(
            "build recipe alone", 3, ("recipe.yaml", "folder_csv"), found[-2].command, ("recipe.yaml",), builds="out"
        ),
        Scenario("build hub", 4, ("rows",), ("build", "hub", HUB, *end), builds="out", is_published=True),
        Scenario("build hub of built", 3, ("built",), ("build", "hub", HUB, *end), builds="out", is_published=True),
        Scenario(
            "build over",
            5,
            ("folder_csv", "built"),
            ("build", "folder", "folder_csv", "--preset", "none", "--overwrite", "--out", "built", "--json"),
            ("folder_csv/*",),
            kept=("built",),
            builds="built",
        ),
        Scenario("build again", 6, ("parts",), (*parts, "--out", "parts")),
        Scenario("build on", 6, ("cut-short",), (*former, "--out", "cut-short", "--json"), version=FORMER_VERSION),
        Scenario(
            "build with a preset",
            1,
            ("preset.yaml", "folder_txt"),
            ("build", "folder", "folder_txt", "--preset", "preset.yaml", *models),
            ("preset.yaml",),
            builds="out",
        ),
    ]


def _datasets() -> list[Scenario]:
    found = []
    for name in _DATASETS:
        found += [
            Scenario(f"verify {name}", 6, (name,), ("verify", name)),
            Scenario(f"stats {name}", 4, (name,), ("stats", name, "--json")),
            Scenario(f"card {name}", 4, (name,), ("card", name), kept=(f"{name}/README.md",)),
            Scenario(f"preview {name}", 3, (name,), ("preview", name)),
            Scenario(f"push {name} to a store", 2, (name,), ("push", name, "memory://bucket/there")),
            Scenario(f"push {name} to a folder", 2, (name,), ("push", name, "file:///nowhere/there", "--dry-run")),
            Scenario(f"push {name} dry", 2, (name,), ("push", name, HUB, "--dry-run", "--json")),
            *(
                Scenario(f"export {name} to {kind}", 1, (name,), ("export", name, "out", "--to", kind))
                for kind in _FORMATS
            ),
        ]
    return [
        *found,
        Scenario("push", 5, ("built",), ("push", "built", HUB, "--json")),
        Scenario("push to what is there", 3, ("built",), ("push", "built", HUB, "--json"), is_published=True),
        Scenario("verify published", 5, ("built",), ("verify", HUB), is_published=True),
        Scenario(
            "export over",
            3,
            ("built", "exported"),
            ("export", "built", "exported", "--to", "webdataset", "--overwrite"),
            ("built/*",),
            kept=("exported",),
        ),
        Scenario(
            "export over what was spoilt",
            3,
            ("built", "exported"),
            ("export", "built", "exported", "--to", "webdataset", "--overwrite"),
            ("exported/*",),
            kept=("exported",),
        ),
        Scenario("push adapter", 5, ("adapter",), ("push", "adapter", HUB, "--adapter")),
        Scenario("push adapter dry", 3, ("adapter",), ("push", "adapter", HUB, "--adapter", "--dry-run")),
    ]


def _heads() -> list[Scenario]:
    """Return the commands for heads; those that read existing results are the cheapest."""
    data, out = ("scenes/manifest.json", "scenes/data/*", "scenes/README.md"), ("--out", "out")
    score = ("score", *_SCENES, "--limit", "2")
    knockout = (
        *("knockout", *_SCENES, "--split", "test", "--limit", "1", "--window", "1"),
        "--flows",
        "image->question,question->last",
    )
    ablate = (
        *("ablate", *_SCENES, *_BY_SCORES, "--limit", "1", "--by", "hi:response"),
        *("--modes", "zero", "--doses", ".05", "--draws", "2"),
    )
    sparsify = ("sparsify", *_SCENES, *_BY_SCORES, "--limit", "1", "--window", "8", "--draws", "1")
    test = ("--test", "scenes", "--test-limit", "1")
    steps = ("--steps", "1", "--batch", "2", "--rank", "1", "--targets", "q_proj")
    compare = (
        *("compare", *_SCENES, *_BY_SCORES, "--limit", "4", *test),
        *("--select", "top-layers:1", "--select", "bottom-layers:1", "--seeds", "0"),
        *steps,
    )
    tune = (
        "tune",
        *_SCENES,
        *_BY_SCORES,
        "--limit",
        "2",
        *test,
        *steps,
        "--select",
        "top-layers:1",
        "--caption-tokens",
        "2",
        "--answer-tokens",
        "2",
    )
    again = {"scores": score, "knockouts": knockout, "ablated": ablate, "sparse": sparsify, "comparison": compare}
    folders = tuple(again)
    own = {"knockout": ("knockout", *_MODEL, "--data"), "flow": ("--limit", "1", "--flows", "image->question")}
    return [
        *(
            Scenario(f"report {name}", 2 if name == "scores" else 6, (name,), ("report", name, "--out", "page.html"))
            for name in folders
        ),
        Scenario("report all", 1, folders, ("report", *folders, "--out", "page.html")),
        *(
            Scenario(
                f"{command[0]} again",
                3,
                ("scenes", "scores", *({name} - {"scores"})),
                (*command, "--out", name),
                (f"{name}/*",),
                FORMER_VERSION,
            )
            for name, command in again.items()
        ),
        *(
            Scenario(f"{command[0]} of spoilt scores", 2, ("scenes", "scores"), (*command, *out), ("scores/*",))
            for command in (ablate, sparsify, tune)
        ),
        Scenario("score", 3, ("scenes",), ("score", *_SCENES, "--limit", "1", *out), data),
        Scenario(
            "score of plain rows",
            2,
            ("given",),
            ("score", *_MODEL, "--data", "given", "--limit", "1", *out),
            ("given/data/*", "given/manifest.json"),
        ),
        Scenario(
            "score of a model",
            1,
            ("scenes", "model"),
            ("score", "--model", "./model", "--device", "cpu", "--data", "scenes", "--limit", "1", *out),
            _OF_MODELS,
        ),
        Scenario("knockout", 2, ("scenes",), (*own["knockout"], "scenes", *own["flow"], *out), data),
        *(
            Scenario(
                f"knockout of {kind}",
                3,
                ("asked",),
                (*own["knockout"], f"asked/asked.{kind}", *own["flow"], *out),
                (f"asked/asked.{kind}", "asked/*.png"),
            )
            for kind in ("csv", "parquet")
        ),
        Scenario(
            "knockout again, today's",
            2,
            ("toy", "flows"),
            (*own["knockout"], "toy", "--split", "test", *own["flow"], "--out", "flows"),
            ("flows/*",),
        ),
        *(
            Scenario(
                f"ablate by {kind}",
                2,
                ("scenes", "ranking"),
                (
                    "ablate",
                    *_SCENES,
                    "--table",
                    f"ranking/heads.{kind}",
                    *ablate[7:12],
                    "--tasks",
                    "vqa",
                    "--modes",
                    "zero",
                    "--doses",
                    ".05",
                    "--draws",
                    "1",
                    *out,
                ),
                (f"ranking/heads.{kind}",),
            )
            for kind in ("csv", "parquet")
        ),
        Scenario("ablate", 1, ("scenes", "scores"), (*ablate, *out), data),
        Scenario("tune", 1, ("scenes", "scores"), (*tune, *out), data),
        Scenario(
            "compare over",
            1,
            ("scenes", "scores", "comparison"),
            (*compare, "--out", "comparison"),
            ("comparison/cells/*",),
            FORMER_VERSION,
        ),
        Scenario("doctor", 1, ("recipe.yaml",), ("doctor", "--json")),
        *(
            Scenario(name, 3, ("fetched", "fetched.yaml"), (*command, "--preset", "fetched.yaml"), ("fetched/*",))
            for name, command in {
                "models list": ("models", "list", "--to", "fetched", "--json"),
                "models check": ("models", "check", "--to", "fetched"),
                "doctor of a preset": ("doctor", "--models", "fetched", "--device", "cpu", "--json"),
            }.items()
        ),
    ]


SCENARIOS: tuple[Scenario, ...] = (*_builds(), *_datasets(), *_heads())
