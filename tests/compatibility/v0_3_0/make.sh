#!/usr/bin/env bash
# What made the folder of v0_3_0, run in an empty folder with datasetkit 0.3.0 (commit f59321e): rows of schema 2.0 of
# pictures whose pixels readers take differently (alpha, a transparent colour, 16 bit), which were published as they
# came, with a mask, a box alone and a crowd.
set -e
mkdir images
python - <<'END'
import json
from pathlib import Path

import numpy as np
from PIL import Image
from pycocotools import mask

rng = np.random.default_rng(0)
pixels = rng.integers(0, 256, (24, 32, 4), dtype=np.uint8)
Image.fromarray(pixels).save("images/alpha.png")
Image.fromarray(pixels[..., 0]).save("images/transparent.png", transparency=int(pixels[3, 4, 0]))
Image.fromarray(pixels[..., 1].astype(np.uint16) * 16).save("images/sixteen.png")
names = ["alpha.png", "transparent.png", "sixteen.png"]
shape = np.zeros((24, 32), np.uint8, order="F")
shape[4:12, 6:20] = 1
run_lengths = mask.encode(shape)
run_lengths["counts"] = run_lengths["counts"].decode()
images = [{"id": n, "file_name": name, "width": 32, "height": 24} for n, name in enumerate(names, 7)]
annotations = []
for image in images:
    shapes = ({"segmentation": run_lengths}, {"segmentation": []}, {"segmentation": run_lengths, "iscrowd": 1})
    for more in shapes:
        entry = {"id": len(annotations) + 1, "image_id": image["id"], "category_id": 18, "bbox": [6, 4, 14, 8]}
        annotations.append(entry | {"iscrowd": 0} | more)
categories = [{"id": 18, "name": "dog", "supercategory": "animal"}, {"id": 17, "name": "cat", "supercategory": "animal"}]
captions = [{"id": n, "image_id": image["id"], "caption": "two dogs and a cat"} for n, image in enumerate(images)]
Path("instances.json").write_text(json.dumps({"images": images, "annotations": annotations, "categories": categories}))
Path("captions.json").write_text(json.dumps({"images": images, "annotations": captions}))
END
datasetkit build coco --images images --instances instances.json --captions captions.json --no-overlay --out pixels
