"""What a model says of pictures, judged: captions, answers, key objects, and how far tuning shifts them."""
