"""`python -m kindling.cli`: the command, for whoever starts it from a program."""

from kindling.cli import main

main()
