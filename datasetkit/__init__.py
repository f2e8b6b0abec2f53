"""datasetkit: pictures in, a published dataset of images, key-object masks and descriptions out.

The ground floor (records, masks, images, schema, errors, recipes) is used by ``annotation``, ``export`` and
``hi_scoring``; the roof (sources, build, engines, toyworld, command line) puts them together.
"""

__version__ = "0.1.0"
