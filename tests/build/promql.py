"""What a PromQL expression asks for, as far as the tests of alerts and dashboard need to know."""

import re

from prometheus_client.parser import text_string_to_metric_families

from nealytics.observe.metrics import SPECS, Metrics
from nealytics.observe.prometheus import text
from nealytics.usage.largest import FAMILIES as TENANTS
from nealytics.usage.largest import LABELS

# Made by Prometheus itself.
FOREIGN_METRICS = {"up"}

_LABELS_OF_ALL = {"job", "instance"}
_LABELS = {spec.name: {spec.label: set(spec.values)} for spec in SPECS if spec.label}
_STRING = re.compile(r'"[^"]*"')
_SELECTOR = re.compile(r"([a-zA-Z_]\w*)\s*(?:\{([^}]*)\})?")
_MATCHER = re.compile(r'(\w+)\s*(=~|!~|!=|=)\s*"([^"]*)"')
_WORDS = {
    "absent", "changes", "clamp_min", "histogram_quantile", "increase", "max", "min", "rate", "resets", "sum",
    "time",
    "and", "or", "by", "ignoring", "on", "group_left", "offset", "le", "reason",
    *_LABELS_OF_ALL,
    *LABELS,
}  # fmt: skip


def exposed_names() -> set[str]:
    """The series that /metrics shows."""
    families = text_string_to_metric_families(text(Metrics.private()).decode())
    return {sample.name for family in families for sample in family.samples} | set(TENANTS)


def metrics_of(expression: str) -> set[str]:
    """The series that `expression` reads."""
    bare = re.sub(r"\{[^}]*\}|\[[^\]]*\]|\$\w+|\boffset\s+\w+", "", _STRING.sub('""', expression))
    return {word for word in re.findall(r"\b[a-zA-Z_]\w*", bare) if word not in _WORDS}


def unknown_in(expression: str) -> list[str]:
    """What `expression` names and nobody has: series, labels, values of a label."""
    names = exposed_names() | FOREIGN_METRICS
    wrong = [name for name in metrics_of(expression) if name not in names]
    for name, matchers in _SELECTOR.findall(expression):
        for label, operator, value in _MATCHER.findall(matchers):
            if label in _LABELS_OF_ALL:
                continue
            if label in LABELS and name in TENANTS:
                continue
            known = _LABELS.get(name, {}).get(label)
            if known is None:
                wrong.append(f"{name}{{{label}}}")
            elif "~" not in operator or not value.startswith("$"):
                values = value.split("|") if "~" in operator else [value]
                wrong += [f"{name}{{{label}={one}}}" for one in values if one not in known]
    return wrong
