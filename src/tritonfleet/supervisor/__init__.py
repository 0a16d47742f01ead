"""The supervisor: the one owner of every process of a fleet."""
