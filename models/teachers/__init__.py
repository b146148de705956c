"""Teachers: models too slow to serve, asked offline what a user with few events will turn out to like."""
