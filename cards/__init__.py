"""Templates of everything that is written for people to read: dataset cards and the preview page."""
