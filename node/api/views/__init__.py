"""What a site shows of itself and its consortium: the same facts for `/v1` and for the pages.

One module per subject, with the pydantic model that is shown and the functions that read it from
the database and the chain.  Nothing here changes anything.
"""
