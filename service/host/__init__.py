"""What runs a server, whatever it serves: its port, who may call, health, logs, traces, workers."""
