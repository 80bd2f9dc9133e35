"""Public keys in PEM, each for one algorithm.

`cryptography` is loaded only with the first key: commands that verify nothing start without it.
"""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePublicKey
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
    from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey

    PublicKey = RSAPublicKey | EllipticCurvePublicKey | Ed25519PublicKey

RSA_BITS_MIN = 2_048
# Verifying with a longer key costs more time than it adds security.
RSA_BITS_MAX = 8_192


def public_key(pem: str, algorithm: str) -> "PublicKey":
    """The key. Raises `ValueError` with the end of a sentence: what is wrong and what to do."""
    from cryptography.exceptions import UnsupportedAlgorithm
    from cryptography.hazmat.primitives.serialization import load_pem_public_key

    if "PRIVATE KEY-----" in pem:
        raise ValueError(
            "is a private key, which only the signing service may have; write its public half, made with: "
            "openssl pkey -in FILE -pubout"
        )
    if "BEGIN CERTIFICATE-----" in pem:
        raise ValueError(
            "is a certificate; write the public key in it, made with: openssl x509 -in FILE -noout -pubkey"
        )
    try:
        key = load_pem_public_key(pem.encode())
    except (ValueError, UnsupportedAlgorithm):
        raise ValueError(
            'is not a public key in PEM; it begins with "-----BEGIN PUBLIC KEY-----" and is made with: '
            "openssl pkey -in FILE -pubout"
        ) from None
    return checked(key, algorithm)


def checked(key: object, algorithm: str) -> "PublicKey":
    """The key itself. Raises `ValueError` if it is not one for this algorithm, or too weak."""
    from cryptography.hazmat.primitives.asymmetric.ec import SECP256R1, EllipticCurvePublicKey
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
    from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey

    match algorithm:
        case "RS256" | "RS512" | "PS256" if isinstance(key, RSAPublicKey):
            if not RSA_BITS_MIN <= key.key_size <= RSA_BITS_MAX:
                raise ValueError(
                    f"is an RSA key of {key.key_size} bits; use one of {RSA_BITS_MIN} to {RSA_BITS_MAX} bits"
                )
            return key
        case "ES256" if isinstance(key, EllipticCurvePublicKey) and isinstance(key.curve, SECP256R1):
            return key
        case "EdDSA" if isinstance(key, Ed25519PublicKey):
            return key
    wanted = {"ES256": "a key on the curve P-256", "EdDSA": "an Ed25519 key"}
    raise ValueError(
        f"is not {wanted.get(algorithm, 'an RSA key')}, which {algorithm} needs; set the algorithm of the key"
    )
