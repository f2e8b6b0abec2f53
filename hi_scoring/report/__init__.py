"""Shared parts of all reports: number formats, the style of plots, the frame of pages."""
