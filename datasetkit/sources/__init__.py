"""Where records come from: one module per source; their names and options are in ``datasetkit.options.sources``."""
