"""From an image and its description to key objects: phrases, alignment, salience."""
