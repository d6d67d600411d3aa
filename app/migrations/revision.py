"""Which schema this release needs."""

REVISION = "0001"
