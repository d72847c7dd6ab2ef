"""Elements and voices: the library that an account keeps for use in other requests."""
