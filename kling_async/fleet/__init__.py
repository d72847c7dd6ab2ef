"""A fleet: many machines that share one account, by a queue on PostgreSQL."""
