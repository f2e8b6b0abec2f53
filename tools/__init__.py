"""Tools that create the shipped models, outside the installed package."""
