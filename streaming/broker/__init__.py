"""The broker: one port; an outside one, a real one started here, and one inside the process."""
