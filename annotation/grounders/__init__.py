"""From images and queries to regions: a detector and a segmenter together, or one model for both."""
