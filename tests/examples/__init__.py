"""The examples and the README's code, run against the emulator."""
