"""Tests of kling_async.decoding."""
