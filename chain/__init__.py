"""Speaking to the contracts: what an auditor needs, and what a node builds on.

`network.Network` reads the address book of a consortium and offers one typed client per contract.
Reads return frozen dataclasses that mirror the contracts' structs; writes return a `calls.Call`, a
plain value that can be stored, and sent later by whoever holds the key (`client.ChainClient`).
`deploy` puts a consortium on a chain and hands it to its members, `proposals` and `effects` say
what they vote on and what it would do, `testnet` runs a local one, `indexer` follows its events
once and in order, `merkle` and `canonical` are the arithmetic of evidence, and `evidence` verifies
a job certificate. The package knows nothing of learning (`ml`) nor of a site (`node`).
"""
