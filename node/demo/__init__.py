"""The demonstration: four institutions, one chain, a first audited federated model.

`stage` starts real processes (a testnet and a node for each institution) and speaks to them as
people do, through the command line and the API; `story` is what happens on it; `report` is how it
is told.
"""
