"""Model families: where the image tokens are and which pixels each shows. Owns the facts of each family, one file each."""
