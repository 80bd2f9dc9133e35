"""Static files for browsers: the scripts of the tracker and of the charts, and pages made of the latter.

    /t.js         the tracker, which sends events of the page that loads it (docs/sending.md)
    /embed.js     the elements, for any page of a SaaS (docs/embedding.md)
    /embed-de.js  their words in German, which the script loads when a page needs them; one for each language
    /embed        the dashboard as a page; its token is in the URL fragment, which browsers never send
    /dead-letter  for the owner: events that could not be stored, with retry and drop; its token as above
    /             the name of the product, whether the node is ready, and links

The files are built from `web/` into `nealytics/web/` and held in memory; each is compressed when it is first
requested. Each has an ETag. A browser revalidates a script after an hour, and caches it for ever with
`?v=<its hash>`. It revalidates a page each time, because its headers depend on the configuration. A page
names its scripts and styles with their hashes, so it never loads those of another version. Pages load nothing
from other servers.
`web.frame_ancestors` lists the other origins that may frame them.
"""

import asyncio
import hashlib

from aiohttp import hdrs, web

from nealytics.compression import compress
from nealytics.config import WebConfig
from nealytics.http.accept import weights
from nealytics.http.responses import names_tag
from nealytics.process import data_directory

_ASK_AGAIN = "no-cache"
_KEEP = "public, max-age=3600"
_KEEP_FOR_EVER = "public, max-age=31536000, immutable"
# In order of preference, with the level. The script is a twelfth smaller with zstd than with gzip;
# compressing it takes 0.05 s.
_CODINGS = {"zstd": 19, "gzip": 9}
_TYPES = {"js": "text/javascript", "css": "text/css", "html": "text/html"}


class Asset:
    """One file, plain and compressed. References to `links` get their versions."""

    def __init__(self, name: str, headers: dict[str, str], links: tuple["Asset", ...] = ()) -> None:
        plain = (data_directory("web") / name).read_bytes()
        for link in links:
            plain = plain.replace(f'{link.name}"'.encode(), f'{link.name}?v={link.version}"'.encode())
        self.name: str = name
        self.version: str = hashlib.blake2b(plain, digest_size=8).hexdigest()
        self._bodies = {"": plain}
        kind = name.rpartition(".")[2]
        self._content_type = _TYPES[kind]
        self._keep = _ASK_AGAIN if kind == "html" else _KEEP
        self._headers = headers

    async def serve(self, request: web.Request) -> web.Response:
        asked = weights(",".join(request.headers.getall(hdrs.ACCEPT_ENCODING, [])))
        coding = next((coding for coding in _CODINGS if asked.get(coding)), "")
        # Each encoding has its own tag, because the bytes differ.
        tag = f'"{self.version}-{coding}"' if coding else f'"{self.version}"'
        headers = {
            hdrs.CACHE_CONTROL: _KEEP_FOR_EVER if request.query.get("v") == self.version else self._keep,
            hdrs.ETAG: tag,
            hdrs.VARY: hdrs.ACCEPT_ENCODING,
            **self._headers,
        }
        if names_tag(request.headers.get(hdrs.IF_NONE_MATCH, ""), tag):
            return web.Response(status=304, headers=headers)
        if coding:
            headers[hdrs.CONTENT_ENCODING] = coding
        return web.Response(
            body=await self._body(coding), content_type=self._content_type, charset="utf-8", headers=headers
        )

    async def _body(self, coding: str) -> bytes:
        if coding not in self._bodies:
            # In a thread, because it takes longer than other requests may wait.
            self._bodies[coding] = await asyncio.to_thread(
                compress, self._bodies[""], coding, _CODINGS[coding]
            )
        return self._bodies[coding]


def add_page_routes(app: web.Application, config: WebConfig) -> None:
    # Any origin may load the scripts: they contain no data, and use the token or key of their page.
    script: dict[str, str] = {
        hdrs.ACCESS_CONTROL_ALLOW_ORIGIN: "*",
        "Cross-Origin-Resource-Policy": "cross-origin",
    }
    languages = tuple(Asset(path.name, script) for path in sorted(data_directory("web").glob("embed-??.js")))
    embed = Asset("embed.js", script, languages)
    for asset in (Asset("t.js", script), embed, *languages):
        app.router.add_get(f"/{asset.name}", asset.serve)
    if not config.pages:
        return
    ancestors = " ".join(["'self'", *config.frame_ancestors])
    page: dict[str, str] = {
        hdrs.CONTENT_SECURITY_POLICY: f"{_POLICY}; frame-ancestors {ancestors}",
        "X-Frame-Options": "SAMEORIGIN",  # for browsers without frame-ancestors
        "Referrer-Policy": "no-referrer",
    }
    embed_page = Asset("embed-page.js", {}, (embed,))
    styles = Asset("embed-page.css", {})
    home_page = Asset("home-page.js", {})
    letters_page = Asset("dead-letter-page.js", {})
    links = (embed, embed_page, styles, home_page, letters_page)
    for asset in links[1:]:
        app.router.add_get(f"/{asset.name}", asset.serve)
    for path, name in (("/", "home.html"), ("/embed", "embed.html")):
        app.router.add_get(path, Asset(name, page, links).serve)
    # Its buttons delete events, so no other page may put them into a frame.
    alone = page | {
        hdrs.CONTENT_SECURITY_POLICY: f"{_POLICY}; frame-ancestors 'none'",
        "X-Frame-Options": "DENY",
    }
    app.router.add_get("/dead-letter", Asset("dead-letter.html", alone, links).serve)


_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src data:; "
    "base-uri 'none'; form-action 'none'; require-trusted-types-for 'script'; trusted-types lit-html"
)
