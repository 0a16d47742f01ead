"""Whether the Hub asks for a token before it gives a model. Nothing of huggingface_hub leaves this module."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping

log = logging.getLogger(__name__)

#: Longest wait for the Hub's word on one model.
HUB_SECONDS = 10.0


def token_required(sources: Iterable[str], environ: Mapping[str, str]) -> bool:
    """Whether one of *sources* is a gated or private model of the Hub.

    Where the Hub does not answer, a token that is set is taken for one that is needed.
    """
    repos = sorted({source.removeprefix("hf://").partition("@")[0] for source in sources if source.startswith("hf://")})
    return any(_closed("/".join(repo.split("/")[:2]), environ) for repo in repos)


def _closed(repo: str, environ: Mapping[str, str]) -> bool:
    from huggingface_hub import HfApi
    from huggingface_hub.errors import HfHubHTTPError

    token = environ.get("HF_TOKEN") or environ.get("HUGGING_FACE_HUB_TOKEN")
    api = HfApi(environ.get("HF_ENDPOINT") or None, token=token or False)
    try:
        info = api.model_info(repo, timeout=HUB_SECONDS)
    except HfHubHTTPError as err:
        return err.response.status_code in (401, 403, 404) or bool(token)
    except Exception as err:  # its transport has changed from release to release
        log.warning("%s: the Hub does not say whether it needs a token (%s)", repo, err)
        return bool(token)
    return bool(info.gated or info.private)
