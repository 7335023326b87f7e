"""Linear models over vertically partitioned columns, on shares of everything.

`models` has the conversation and the parameters, `shared` the descent on shared numbers, `parts`
what each party keeps.  The same descent on plain numbers is `ml.local.linear`.
"""
