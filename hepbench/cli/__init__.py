"""The command line: commands (verbs), their options, and the text that they print."""
