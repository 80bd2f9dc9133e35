"""The statements for a server's user of saved queries, and its signed scopes. `queries/saved` uses them."""

from nealytics.clickhouse import saved_reader
from nealytics.clickhouse.embedded import Access
from nealytics.config import ClickHouseConfig, QueryConfig


def test_the_statements_give_one_right_and_name_no_password():
    statements = saved_reader.statements(ClickHouseConfig(), QueryConfig(), "nealytics_saved", "a secret")
    text = "\n".join(statements)
    assert "a secret" not in text
    assert [line for line in text.splitlines() if line.startswith("GRANT")] == [
        "GRANT SELECT ON `nealytics_core`.global_events TO nealytics_saved"
    ]
    assert "readonly = 1" in text
    assert "max_execution_time = 30 MIN 1 MAX 30 CHANGEABLE_IN_READONLY" in text
    assert "log_comment CHANGEABLE_IN_READONLY" in text
    assert saved_reader.policy(saved_reader.scope_key("a secret")) in text


def test_an_unlimited_setting_has_no_maximum():
    text = "\n".join(
        saved_reader.statements(
            ClickHouseConfig(), QueryConfig(rows_read_max=0), "nealytics_saved", "a secret"
        )
    )
    assert "max_rows_to_read = 0 CHANGEABLE_IN_READONLY" in text


def test_scopes_have_different_texts_and_signatures():
    names = ("a", "*", "a.b", "", "ä", "a\n")
    signed = {saved_reader.signed("key", project, tenant) for project in names for tenant in (*names, None)}
    assert len(signed) == len(names) * (len(names) + 1)
    assert len({text.rpartition(".")[2] for text in signed}) == len(signed)


def test_the_key_is_among_the_secrets_that_the_log_hides():
    access = Access.create(1)
    assert saved_reader.scope_key(access.saved) in access.secrets
