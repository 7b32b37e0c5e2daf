"""Commands of the command line beside those of cli.py: who may come in, what was done, and running the service."""
