"""The stock-keeping application. Replace it by your own; it knows nothing of what runs it."""
