"""Show the client in short programs, each run by the tests; ``python3 -m examples`` runs the main job."""
