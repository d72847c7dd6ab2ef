"""Measure the library's costs and savings, each against named rivals in the same run."""
