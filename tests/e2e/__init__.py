"""The whole client over loopback HTTP, against the emulator."""
