"""Many queries: rows in, one result per row out, in order, in bounded memory, resumable after a crash.

`plan` holds the settings, `rows` reads, `scoring` shares batches between rows, `results` renders, `run` is the loop;
`local` runs it here with a `journal` per output, `parts` anywhere.
"""
