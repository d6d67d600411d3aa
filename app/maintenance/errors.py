class MaintenanceError(Exception):
    """One sentence for the operator."""
