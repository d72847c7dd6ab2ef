"""Tests of the emulator's account: slots, units, packs, tasks, the library and the ledger."""
