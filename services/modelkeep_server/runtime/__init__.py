"""How a process works: its gRPC server, who calls it, what it logs and counts, how it starts and ends."""
