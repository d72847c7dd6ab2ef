"""Tests of the emulator, over plain HTTP and never with this package's client.

The folders mirror the storeys of ``kling_async.emulator``.
"""
