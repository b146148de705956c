"""The front door: the command, the client, the proto."""
