"""The wire contract `kindling.v1` and the code generated from it (`make proto`)."""
