"""Files made from the option table: completions, man page, reference, tables, the sample configuration.

    python -m tools.generate            write them
    python -m tools.generate --check    exit 1 if one of them differs from the option table

Run from the root of a checkout. `rerank completion SHELL` prints the completion scripts that are written here.
"""
