"""Where a model's files come from: a folder, the Hugging Face Hub, an object store, or the package's demo models.

``resolve_source`` turns the text after ``source:`` in fleet.yaml into a folder on this machine. It is not for
Triton repositories; those are ``tritonfleet.repository``.
"""

from tritonfleet.progress import Progress
from tritonfleet.sources.model import ChatTemplate, ResolvedModel, Want
from tritonfleet.sources.resolve import resolve_source

__all__ = ["ChatTemplate", "Progress", "ResolvedModel", "Want", "resolve_source"]
