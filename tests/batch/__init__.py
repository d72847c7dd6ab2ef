"""Tests of batches: planner, journal, jobs, reports."""
