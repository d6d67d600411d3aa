"""Installs applications as systemd services, and removes them. Runs in the operator's command, as root."""
