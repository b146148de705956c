"""The contract: what a profile is, declared as Feast objects over a catalogue that is data."""
