"""Which bundle serves whom, and how the next takes over."""
