"""Find what is wrong with a Triton model repository, ours or anybody's, without starting a server."""

from tritonfleet.repository.check.finding import Finding
from tritonfleet.repository.check.repository import check_repository

__all__ = ["Finding", "check_repository"]
