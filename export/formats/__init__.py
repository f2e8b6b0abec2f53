"""Other formats that a built folder can be exported to: one module per format, by name in :data:`FORMATS`."""

from __future__ import annotations

from datasetkit.runtime.registry import Builtin, Registry

FORMATS = Registry(
    "format",
    {
        "coco": Builtin("datasetkit.export.formats.coco:write_coco"),
        "imagefolder": Builtin("datasetkit.export.formats.imagefolder:write_imagefolder"),
        "labelstudio": Builtin("datasetkit.export.formats.labelstudio:write_labelstudio"),
        "webdataset": Builtin("datasetkit.export.formats.webdataset:write_webdataset"),
        "yolo-seg": Builtin("datasetkit.export.formats.yolo_seg:write_yolo_seg"),
    },
)
