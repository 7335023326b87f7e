"""The search index: which words lead to which jobs, datasets, entries, events and the like.

`words` takes texts apart, `documents` says what there is to find and by which words, `indexing`
follows the log and the chain's events, and `finding` answers.  All of it is derived: it may be
thrown away and made again at any time.

The index is four plain tables and no full-text extension of a database.  SQLite and PostgreSQL then
answer alike, an id is found by its beginning as fast as a word, the newest come first without
sorting, and an erased entry leaves nothing behind: a row that is deleted is gone, while a full-text
segment keeps its words until it is merged.
"""
