"""From real data or a simulator to one catalogue and one event stream."""
