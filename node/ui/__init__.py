"""The explorer: pages for people, rendered on the server, readable without scripts.

`explorer` has the routes, `session` who may read, `messages` all words in two languages, `charts`
and `proofs` the drawings, `search` what an identifier leads to.  `pages` says what each shows, as
`node.api.views` reads it; each has a JSON twin at the same address with ``.json`` at its end.
"""
