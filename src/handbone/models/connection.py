"""Whether published weights can be had here: from a cache, or over a connection.

The libraries that download them try each file six times, for most of a minute, before they say that there is no connection.
"""

from __future__ import annotations

import re
from pathlib import Path
from ssl import SSLError
from urllib.error import HTTPError, URLError
from urllib.request import Request, urlopen

from huggingface_hub import constants, try_to_load_from_cache
from torch.hub import get_dir

from handbone.utils.errors import Problem, UserError

SECONDS = 5.0  # in which a server has to answer
HUB = "https://huggingface.co"
HUB_URL = re.compile(HUB + "/(?P<repo>[^/]+/[^/]+)/resolve/(?P<revision>[^/]+)/(?P<file>.+)")
HUB_FILES = "pytorch_model.bin", "model.safetensors"  # that the libraries take from a repository, whichever it has


def require_source(url: str, place: str, fix: str) -> None:
    """Raise `UserError` (`weights.download`) with `fix` if `url` is in no cache and its server does not answer within seconds."""
    if is_cached(url) or (fault := unreachable(url)) is None:
        return
    raise UserError(Problem("weights.download", place, f"to download {url}", f"no connection: {fault}", fix))


def is_cached(url: str) -> bool:
    """Whether the file is in the cache of Hugging Face or of torch, so that no library downloads it."""
    if found := HUB_URL.fullmatch(url):
        files = {found["file"], *HUB_FILES}
        return any(isinstance(try_to_load_from_cache(found["repo"], file, revision=found["revision"]), str) for file in files)
    return (Path(get_dir()) / "checkpoints" / url.rsplit("/", 1)[-1]).is_file()


def unreachable(url: str, seconds: float = SECONDS) -> str | None:
    """Why nothing answers at `url`; null if something does, even if it refuses: then the library that downloads says why.

    Proxies are those of the environment, and so is the mirror of Hugging Face (HF_ENDPOINT).
    """
    url = url.replace(HUB, constants.ENDPOINT, 1)
    try:
        urlopen(Request(url, method="HEAD"), timeout=seconds).close()
    except HTTPError:
        return None
    except URLError as error:
        # of a certificate: the libraries may know another authority
        return None if isinstance(error.reason, SSLError) else str(error.reason)
    except OSError as error:
        return str(error)
    return None
