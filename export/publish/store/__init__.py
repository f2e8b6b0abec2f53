"""Publishing in remote stores such as S3, and reading from them. Owns all transfers."""
