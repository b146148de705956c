"""Knowledge: what texts and triples say of items and events, beside what users did."""
