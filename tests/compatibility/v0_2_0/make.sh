#!/usr/bin/env bash
# What made the folders of v0_2_0, run in an empty folder with datasetkit 0.2.0 (commit 7f2276f): human masks, of which
# one is broken, one is missing and one is a crowd, head scores on them, and the adapter of one cell.
set -e
dk() { datasetkit "$@" >/dev/null; }
dk build toyworld --preset none --size-px 128 --no-overlay --count 4 --out scenes
dk export scenes coco --to coco
python - <<'END'
import json
from pathlib import Path

path = Path("coco/instances_train.json")
data = json.loads(path.read_text())
del data["info"]
for annotation, change in zip(
    data["annotations"], ({"segmentation": [[1.0, 1.0, 2.0, 2.0]]}, {"segmentation": []}, {"iscrowd": 1})
):
    annotation.update(change)
for annotation in data["annotations"]:
    annotation.pop("datasetkit", None)
path.write_text(json.dumps(data))
END
dk build coco --images coco/images/train --instances coco/instances_train.json --captions coco/captions_train.json --no-overlay --out given
dk score --model toyworld:vlm --data given --limit 2 --out scores
dk tune --model toyworld:vlm --data given --test given --test-split train --select top-layers:1 --scores scores --tasks caption --steps 1 --batch 2 --rank 1 --targets q_proj --test-limit 1 --out tuned
