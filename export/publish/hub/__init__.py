"""Publishing on the Hugging Face Hub, and reading published datasets. Owns all requests to the Hub."""
