"""User ids → sparse profiles, in time or not at all, and answers of late for unchanged ones."""
