"""What an account keeps for use in other requests: elements and voices."""
