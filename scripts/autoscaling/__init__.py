"""The parts of ``prove_autoscaling.py``: a cluster out of local processes, its autoscaler, load, and the verdict."""
