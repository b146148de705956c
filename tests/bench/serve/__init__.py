"""How fast the server answers: beside its floors, Feast's own servers and other model servers."""
