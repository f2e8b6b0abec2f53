"""Other formats that a built folder can be exported to: one module a format, by name in :data:`FORMATS`."""

from __future__ import annotations

from datasetkit.runtime.registry import Registry

FORMATS = Registry(
    "format",
    {
        "coco": "datasetkit.export.formats.coco:write_coco",
        "imagefolder": "datasetkit.export.formats.imagefolder:write_imagefolder",
        "labelstudio": "datasetkit.export.formats.labelstudio:write_labelstudio",
        "webdataset": "datasetkit.export.formats.webdataset:write_webdataset",
        "yolo-seg": "datasetkit.export.formats.yolo_seg:write_yolo_seg",
    },
)
