"""From a picture and its description to key objects: phrases, alignment, salience."""
