"""The command line: one file per command, each of which parses, calls one verb, and prints.

Only this package reads environment variables. Nothing here loads JAX before a request has been found to be in order.
"""
