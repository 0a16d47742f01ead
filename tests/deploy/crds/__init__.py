"""JSON schemas of the custom resources that the chart makes."""
