"""What makes the shipped models, outside the package that is installed."""
