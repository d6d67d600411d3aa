"""The operating system: processes, sockets, standard streams, systemd. Knows nothing of Coachman."""
