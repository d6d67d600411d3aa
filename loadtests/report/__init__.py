"""From stored measurements to figures, charts and one page."""
