"""What a browser gets from the node besides answers: the script of the charts, and pages made of it.

    /embed.js     the elements, for any page of a SaaS (docs/embedding.md)
    /embed        the dashboard as a page of its own; its token stands behind #, which no server sees
    /             what this is, and where to go on

The files are built from `web/` into `nealytics/web/`, compressed once at the start and held in memory. Each
has an ETag and is asked for again after an hour; with `?v=<its hash>` it may be kept for ever. The pages load
nothing from elsewhere, and `web.frame_ancestors` says who may frame them.
"""

import gzip
import hashlib
from pathlib import Path

from aiohttp import hdrs, web

from nealytics.config import WebConfig
from nealytics.http.accept import weights
from nealytics.http.responses import names_tag
from nealytics.process import is_compiled

_KEEP = "public, max-age=3600"
_KEEP_FOR_EVER = "public, max-age=31536000, immutable"
_TYPES = {"js": "text/javascript", "css": "text/css", "html": "text/html"}


def folder() -> Path:
    """Where the files are: in the package, or beside the executable, which holds the package in itself."""
    if is_compiled():
        return Path("/proc/self/exe").resolve().parent / "web"
    return Path(__file__).parent.parent / "web"


class Asset:
    """One file, as it is and compressed."""

    def __init__(self, name: str, headers: dict[str, str]) -> None:
        plain = (folder() / name).read_bytes()
        self._version = hashlib.blake2b(plain, digest_size=8).hexdigest()
        self._bodies = {"": plain, "gzip": gzip.compress(plain, mtime=0)}
        self._content_type = _TYPES[name.rpartition(".")[2]]
        self._headers = headers

    async def serve(self, request: web.Request) -> web.Response:
        asked = weights(",".join(request.headers.getall(hdrs.ACCEPT_ENCODING, [])))
        coding = "gzip" if asked.get("gzip") else ""
        tag = f'"{self._version}{"-gzip" if coding else ""}"'  # of the bytes, so each coding has its own
        headers = {
            hdrs.CACHE_CONTROL: _KEEP_FOR_EVER if request.query.get("v") == self._version else _KEEP,
            hdrs.ETAG: tag,
            hdrs.VARY: hdrs.ACCEPT_ENCODING,
            **self._headers,
        }
        if names_tag(request.headers.get(hdrs.IF_NONE_MATCH, ""), tag):
            return web.Response(status=304, headers=headers)
        if coding:
            headers[hdrs.CONTENT_ENCODING] = coding
        return web.Response(
            body=self._bodies[coding], content_type=self._content_type, charset="utf-8", headers=headers
        )


def add_page_routes(app: web.Application, config: WebConfig) -> None:
    # A page of any origin may load the script: it holds no data, and reads with the page's own token.
    script: dict[str, str] = {
        hdrs.ACCESS_CONTROL_ALLOW_ORIGIN: "*",
        "Cross-Origin-Resource-Policy": "cross-origin",
    }
    app.router.add_get("/embed.js", Asset("embed.js", script).serve)
    if not config.pages:
        return
    ancestors = " ".join(config.frame_ancestors) or "'none'"
    page: dict[str, str] = {hdrs.CONTENT_SECURITY_POLICY: f"{_POLICY}; frame-ancestors {ancestors}"}
    app.router.add_get("/", Asset("home.html", page).serve)
    app.router.add_get("/embed", Asset("embed.html", page).serve)
    app.router.add_get("/embed-page.js", Asset("embed-page.js", {}).serve)
    app.router.add_get("/embed-page.css", Asset("embed-page.css", {}).serve)


_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src data:; "
    "base-uri 'none'; form-action 'none'; require-trusted-types-for 'script'; trusted-types lit-html"
)
