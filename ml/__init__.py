"""Protocols and algorithms of federated learning, as conversations between parties.

`federation` says what a party, a message and a channel are, `wire` turns messages into bytes and
back, `table` holds the rows of one party, `algorithm` names what a job may run, and `testing`
checks that an algorithm keeps its promises.  Protocols stand in `protocols/`, algorithms in
`vertical/`, their cryptography in `crypto/`, and mathematics without parties in `local/`.
This package runs in a notebook: it knows no chain, no server and no file other than a table.
"""
