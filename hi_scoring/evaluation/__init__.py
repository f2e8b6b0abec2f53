"""What a model says of images, judged: captions, answers, key objects, and how far a change of it shifts them."""
