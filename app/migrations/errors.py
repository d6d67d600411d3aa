class MigrationError(Exception):
    """One sentence for the operator."""
