"""Short programs, each run by the tests against the emulator; ``python3 -m examples`` runs the main job."""
