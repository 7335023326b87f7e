"""The audit log of a site: entries, their Merkle tree, and its heads.

Whoever does something records an entry in the transaction of what was done (`entries`); one
process per site gives the entries their place and keeps the tree (`log`); its heads are signed
notes (`checkpoint`, `notes`, and the kinds of keys in them); messages are entered by their sender
and by their receiver (`transport`), which `node.reconciliation` holds against each other.
"""
