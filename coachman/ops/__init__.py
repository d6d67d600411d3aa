"""What the operations listener answers; nothing here is reachable on the public one."""
