"""The client's check and the emulator's judgement compared, on request bodies drawn from the reference."""
