"""The error for an invalid query string: 400, the parameter's name, and what to write instead."""

from nealytics.errors import Refused


def invalid(field: str, message: str, detail: str) -> Refused:
    return Refused(400, "invalid_parameter", message, detail=detail, field=field)


def shown(value: str) -> str:
    """A client's value in an error message: quoted and shortened."""
    return repr(value if len(value) <= 40 else value[:40] + "…")
