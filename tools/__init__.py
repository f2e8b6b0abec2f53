"""Tools that create the shipped models, the documentation and the README's images, outside the installed package."""
