"""What a model says of pictures, judged: captions, answers, key objects, and how far a change of it shifts them."""
