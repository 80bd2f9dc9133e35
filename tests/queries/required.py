"""What a test must ask an endpoint with for it to answer at all."""

from nealytics.queries.endpoint import Route


def required(route: Route) -> list[tuple[str, str]]:
    """What it cannot do without, by the examples of its declaration; `&` stands between several values."""
    given = []
    for parameter in route.parameters:
        if parameter.required:
            assert parameter.example, f"{route.path}: {parameter.name} is required and has no example"
            given += [(parameter.name, text) for text in parameter.example.split("&")]
    return given
