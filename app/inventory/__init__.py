"""The domain: items, and the movements that change their stock."""
