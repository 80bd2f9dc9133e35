"""Signed requests."""

from datetime import UTC, datetime

from nealytics.backup.s3 import signed_headers
from nealytics.config import BackupConfig


def test_a_request_is_signed_as_amazon_documents_it():
    """The example "GET Bucket (List Objects)" of the S3 reference, signature version 4."""
    config = BackupConfig(
        s3_access_key_id="AKIAIOSFODNN7EXAMPLE",
        s3_secret_access_key="wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY",
    )
    at = datetime(2013, 5, 24, tzinfo=UTC)
    headers = signed_headers(
        config, "GET", "examplebucket.s3.amazonaws.com", "/", "max-keys=2&prefix=J", b"", at
    )
    assert headers["authorization"].endswith(
        "Signature=34b48302e7b5fa45bde8084f4b7868a86f0a534bc59db6670ed5711ef69dc6f7"
    )
