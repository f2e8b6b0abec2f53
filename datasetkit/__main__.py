"""``python -m datasetkit``: the command line, where no script is on the path."""

from datasetkit.cli import main

main()
