"""Floors under what the benchmarks found."""
