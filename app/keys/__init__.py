"""The keys of clients: the file that keeps their hashes, and the command that changes it."""
