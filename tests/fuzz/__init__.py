"""Our check against the emulator's judgement, on bodies drawn from the reference."""
