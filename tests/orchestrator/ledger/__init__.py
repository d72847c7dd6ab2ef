"""The ledger of slots that several processes share."""
