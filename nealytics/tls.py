"""Why a TLS connection was not made, in words that say what to do. Only explains; decides nothing."""

import ssl


def why_not(error: BaseException) -> str | None:
    """What was wrong with the server's certificate, or with its TLS; None if `error` is about neither."""
    # aiohttp wraps what OpenSSL said.
    for name in ("certificate_error", "os_error"):
        inner = getattr(error, name, None)
        if isinstance(inner, ssl.SSLError):
            error = inner
    if isinstance(error, ssl.SSLCertVerificationError):
        return f"its certificate is not trusted: {error.verify_message}"
    if isinstance(error, ssl.SSLError):
        reason = (error.reason or str(error)).replace("_", " ").lower()
        return f"no TLS connection: {reason}"
    return None


def certificate_of(host: str, port: int, timeout_s: float = 5.0) -> str | None:
    """The certificate that a server shows, trusted or not: its subject, issuer and end; None if it shows
    none."""
    from cryptography import x509  # it takes 30 ms to load, and few callers come here

    try:
        pem = ssl.get_server_certificate((host, port), timeout=timeout_s)
        found = x509.load_pem_x509_certificate(pem.encode())
    except (OSError, ValueError):
        return None
    return (
        f"{found.subject.rfc4514_string() or 'without a subject'}, issued by"
        f" {found.issuer.rfc4514_string() or 'nobody'}, valid from {found.not_valid_before_utc:%Y-%m-%d} to"
        f" {found.not_valid_after_utc:%Y-%m-%d}"
    )
