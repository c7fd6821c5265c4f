"""Files made from the option table: completions, man page, reference, tables, the sample configuration.

    python -m rerank_cli.cli.generate            write them
    python -m rerank_cli.cli.generate --check    exit 1 if one of them is not what the table says

Nothing here is needed to rank; `rerank completion SHELL` prints the same completion scripts.
"""
