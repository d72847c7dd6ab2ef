"""The decisions, as plain classes and functions: no clock, no I/O, no random of their own, no await.

Time and chance come in as arguments, what to do goes out as values; the drivers one layer up carry it out.
"""
