"""The commands: options, and the sentences that a failure ends in."""
