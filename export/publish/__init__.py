"""Publishing a built folder: on the Hugging Face Hub, or in an object store."""
