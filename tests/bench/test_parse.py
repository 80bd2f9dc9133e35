"""The measurement of the way from JSON to rows."""

import pytest

from nealytics.bench import parse as parse_bench
from nealytics.errors import NealyticsError
from nealytics.ingest import plain


def test_both_readers_are_measured_beside_the_decoder(tmp_path):
    with plain.python_only(), pytest.raises(NealyticsError, match="was not built"):
        parse_bench.parse(rounds=1, directory=tmp_path, say=print)
    if plain.plain_reader(0, parse_bench._LIMITS, parse_bench._GRANT) is None:
        pytest.skip("the compiled reader is not built: no C compiler")
    said: list[str] = []
    report = parse_bench.parse(rounds=1, directory=tmp_path, say=said.append)
    assert min(report.compiled_us, report.python_us, report.decoder_us) > 0
    assert report.ratio == pytest.approx(report.python_us / report.compiled_us)
    assert "compiled" in said[-1]
