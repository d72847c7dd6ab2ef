"""Convert requests of the first generation into those of the second."""
