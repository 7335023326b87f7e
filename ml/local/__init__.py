"""Plain mathematics that needs no party: losses, trees, metrics.  Its functions take and return
arrays, so that a centralised computation can use them as it is.
"""
