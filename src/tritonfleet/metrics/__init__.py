"""The fleet's metrics: their table, and one page made of what every part of the fleet tells."""
