"""Refuses to build where the links between the folders were lost, which would leave most of the package out."""

from pathlib import Path

from setuptools import setup

FOLDERS = ("", "/annotation", "/export", "/export/cards", "/hi_scoring")
LOST = [name for name in FOLDERS if not (Path(__file__).parent / f"src/datasetkit{name}").is_dir()]
if LOST:
    raise SystemExit(
        f"error: src/datasetkit{LOST[0]} is not a folder: this copy has lost its symbolic links; "
        "use git clone or the sdist"
    )
setup()
