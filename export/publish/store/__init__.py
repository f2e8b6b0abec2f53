"""Publishing in remote stores such as S3, and reading from there. Owns what is sent to and read from them."""
