"""The command line: options declared once, one short file a command. Commands translate options and call the core."""
