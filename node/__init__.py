"""A site: the one package that joins the chain and the protocols.

A site is one institution's application in several processes: the API, the worker, and the sync
process that alone writes to the chain and orders the audit log.  They share a database (the
queue), a broker (the doorbell) and a folder (keys, log tiles, messages, models).
"""
