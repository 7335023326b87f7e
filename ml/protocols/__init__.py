"""Protocols that algorithms are made of; each module is one conversation and reads from the top.

A protocol's preface says in which scenario it is used, who learns what, what it does not protect,
how many rounds it takes and where it is from.
"""
