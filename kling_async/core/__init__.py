"""Decisions as plain classes and functions: no clock, no I/O, no randomness of their own, no await.

Time and random numbers come in as arguments, and what is to be done goes out as values that the drivers in
`kling_async.orchestrator` carry out. States with a life are a `lifecycle`.
"""
