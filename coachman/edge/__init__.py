"""What a worker lets clients do: limits and deadlines of HTTP connections, where no middleware can reach."""
