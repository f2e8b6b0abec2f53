"""What all reports share: how numbers are written, the look of plots, the frame of pages."""
