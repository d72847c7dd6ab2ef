"""Tests of the fleet, on a PostgreSQL of their own."""
