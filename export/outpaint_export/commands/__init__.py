"""The command line: one file a command, and `cli`, which puts them together. Converts nothing itself."""
