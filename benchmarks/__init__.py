"""Measurements, never tests: ``python -m benchmarks NAME`` prints what it did and, as its last
line, one JSON object with sizes, seconds and the ratio to the plain computation in the same run.
"""
