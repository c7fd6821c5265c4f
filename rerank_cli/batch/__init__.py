"""Many queries: rows in, one result a row out, in order, in bounded memory, able to go on after a crash.

`jobs` reads rows, `scoring` shares batches between them, `results` renders them, `journal` keeps what was done.
"""
