"""A server of one bucket, as far as backups use S3, that verifies the signature of every request.

Written from Amazon's description of Signature Version 4, not from our client, so that one checks the other.
"""

import hashlib
import hmac
import http.server
import re
import threading
from urllib.parse import parse_qsl, quote, unquote, urlsplit
from xml.sax.saxutils import escape

BUCKET = "bucket"
KEY_ID = "AKIDEXAMPLE"
SECRET = "secret/of+the bucket"
REGION = "eu-test-1"


class FakeS3:
    """Serves between `with` and its end. `objects` are the bucket's keys and contents."""

    def __init__(self, *, page_keys_max: int = 1000) -> None:
        self.objects: dict[str, bytes] = {}
        self.refused: list[str] = []  # requests without a valid signature
        self.failures = 0  # how many of the next requests are answered with 503
        self.breaks = 0  # how many of the next answers to a GET break off in the middle
        self.list: bytes | None = None  # the answer to a list, instead of S3's
        self.missing = ""  # the answer for a key that is not there, instead of S3's
        self.page_keys_max = page_keys_max
        self._server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), _handler(self))
        self._thread = threading.Thread(target=self._server.serve_forever)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._server.server_port}/{BUCKET}"

    def __enter__(self) -> "FakeS3":
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()


def _handler(fake: FakeS3) -> type[http.server.BaseHTTPRequestHandler]:
    class Handler(http.server.BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def log_message(self, *_: object) -> None:
            pass

        def _serve(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
            split = urlsplit(self.path)
            if not _is_signed(self.command, split.path, split.query, dict(self.headers), body):
                fake.refused.append(f"{self.command} {self.path}")
                self._error(403, "SignatureDoesNotMatch", "The request signature does not match")
            elif fake.failures > 0:
                fake.failures -= 1
                self._error(503, "SlowDown", "Reduce your request rate")
            else:
                key = unquote(split.path).removeprefix(f"/{BUCKET}").removeprefix("/")
                self._act(key, split.query, body)

        do_GET = do_HEAD = do_PUT = do_DELETE = do_POST = _serve

        def _act(self, key: str, query: str, body: bytes) -> None:
            if self.command == "PUT" and not query:
                fake.objects[key] = body
                self._answer(200, headers={"ETag": f'"{hashlib.md5(body).hexdigest()}"'})
            elif self.command == "DELETE":
                fake.objects.pop(key, None)
                self._answer(204)
            elif self.command == "GET" and not key:
                self._list(dict(parse_qsl(query, keep_blank_values=True)))
            elif self.command in ("GET", "HEAD"):
                self._get(key)
            else:
                self._error(501, "NotImplemented", f"{self.command} {self.path}")

        def _get(self, key: str) -> None:
            if (data := fake.objects.get(key)) is None:
                if fake.missing:
                    self._answer(404, fake.missing.encode())
                else:
                    self._error(404, "NoSuchKey", "The key does not exist")
            elif wanted := re.fullmatch(r"bytes=(\d+)-(\d*)", self.headers.get("Range", "")):
                first, last = int(wanted[1]), min(int(wanted[2] or len(data)), len(data) - 1)
                shown = f"bytes {first}-{last}/{len(data)}"
                self._answer(206, data[first : last + 1], {"Content-Range": shown})
            else:
                self._answer(200, data)

        def _list(self, asked: dict[str, str]) -> None:
            prefix, after = asked.get("prefix", ""), asked.get("continuation-token", "")
            delimiter = asked.get("delimiter")
            found: dict[str, str] = {}
            for key in sorted(fake.objects):
                rest = key.removeprefix(prefix)
                if not key.startswith(prefix):
                    continue
                if delimiter and delimiter in rest:
                    folder = prefix + rest.partition(delimiter)[0] + delimiter
                    found[folder] = f"<CommonPrefixes><Prefix>{quote(folder)}</Prefix></CommonPrefixes>"
                else:
                    size = len(fake.objects[key])
                    found[key] = f"<Contents><Key>{quote(key)}</Key><Size>{size}</Size></Contents>"
            names = [name for name in found if name > after]
            page = names[: min(fake.page_keys_max, int(asked.get("max-keys", "1000")))]
            more = len(page) < len(names)
            token = f"<NextContinuationToken>{escape(page[-1])}</NextContinuationToken>" if more else ""
            text = (
                '<?xml version="1.0"?><ListBucketResult xmlns="http://s3.amazonaws.com/doc/2006-03-01/">'
                f"<IsTruncated>{str(more).lower()}</IsTruncated>{token}"
                f"{''.join(found[name] for name in page)}</ListBucketResult>"
            )
            answer = text.encode() if fake.list is None else fake.list
            self._answer(200, answer, {"Content-Type": "application/xml"})

        def _error(self, status: int, code: str, message: str) -> None:
            text = f"<Error><Code>{code}</Code><Message>{message}</Message></Error>"
            self._answer(status, text.encode(), {"Content-Type": "application/xml"})

        def _answer(self, status: int, body: bytes = b"", headers: dict[str, str] | None = None) -> None:
            self.send_response(status)
            for name, value in (headers or {}).items():
                self.send_header(name, value)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            if self.command == "GET" and status in (200, 206) and fake.breaks and len(body) > 1:
                fake.breaks -= 1
                body, self.close_connection = body[: len(body) // 2], True
            if self.command != "HEAD":
                self.wfile.write(body)

    return Handler


_AUTHORIZATION = re.compile(
    r"AWS4-HMAC-SHA256 Credential=([^/]+)/(\d+)/([^/]+)/s3/aws4_request, "
    r"SignedHeaders=([^,]+), Signature=(\w+)"
)


def _is_signed(method: str, path: str, query: str, headers: dict[str, str], body: bytes) -> bool:
    sent = {name.lower(): " ".join(value.split()) for name, value in headers.items()}
    found = _AUTHORIZATION.fullmatch(sent.get("authorization", ""))
    if found is None:
        return False
    key_id, day, region, names, signature = found.groups()
    digest = sent.get("x-amz-content-sha256", "")
    if (key_id, region) != (KEY_ID, REGION) or not {"host", "x-amz-date"} <= set(names.split(";")):
        return False
    if digest not in ("UNSIGNED-PAYLOAD", hashlib.sha256(body).hexdigest()):
        return False
    pairs = sorted(parse_qsl(query, keep_blank_values=True))
    canonical_query = "&".join(f"{quote(name, safe='~')}={quote(value, safe='~')}" for name, value in pairs)
    lines = "".join(f"{name}:{sent.get(name, '')}\n" for name in names.split(";"))
    request = f"{method}\n{path}\n{canonical_query}\n{lines}\n{names}\n{digest}"
    scope = f"{day}/{region}/s3/aws4_request"
    hashed = hashlib.sha256(request.encode()).hexdigest()
    text = f"AWS4-HMAC-SHA256\n{sent['x-amz-date']}\n{scope}\n{hashed}"
    key = f"AWS4{SECRET}".encode()
    for part in (day, region, "s3", "aws4_request"):
        key = hmac.new(key, part.encode(), hashlib.sha256).digest()
    return hmac.compare_digest(hmac.new(key, text.encode(), hashlib.sha256).hexdigest(), signature)
