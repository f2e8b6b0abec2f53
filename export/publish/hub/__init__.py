"""Publishing on the Hugging Face Hub, and reading what was published. Owns everything that is asked of the Hub."""
