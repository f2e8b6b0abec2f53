"""Where records come from: one module a source, by name in :data:`SOURCES`."""

from __future__ import annotations

from datasetkit.runtime.registry import Registry

SOURCES = Registry(
    "source",
    {
        "coco": "datasetkit.sources.coco:CocoSource",
        "folder": "datasetkit.sources.folder:FolderSource",
        "hub": "datasetkit.sources.hub:HubSource",
        "parquet": "datasetkit.sources.parquet:ParquetSource",
        "toyworld": "datasetkit.sources.toyworld:ToyworldSource",
        "webdataset": "datasetkit.sources.webdataset:WebdatasetSource",
    },
)
