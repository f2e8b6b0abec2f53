"""Other formats that a built folder can be exported to: one module a format, by name in :data:`FORMATS`."""

from __future__ import annotations

from datasetkit.registry import Registry

FORMATS = Registry(
    "format",
    {
        "coco": "export.formats.coco:write_coco",
        "imagefolder": "export.formats.imagefolder:write_imagefolder",
        "labelstudio": "export.formats.labelstudio:write_labelstudio",
        "webdataset": "export.formats.webdataset:write_webdataset",
        "yolo-seg": "export.formats.yolo_seg:write_yolo_seg",
    },
)
