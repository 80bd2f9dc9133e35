"""What keeps a committer from going on, as one sentence for `/ready` and one critical line in the log."""

import logging

log = logging.getLogger("nealytics.commit")


class Problem:
    """`text` is None while all is well."""

    def __init__(self) -> None:
        self.text: str | None = None

    def report(self, text: str) -> None:
        """Critical, but logged once: until `clear` it is the same trouble."""
        if self.text is None:
            log.critical("commit: %s", text)
        self.text = text

    def clear(self, waiting: int) -> None:
        """`waiting` is the number of rows that are still to be committed."""
        if self.text is not None:
            log.warning("commit: recovered, %d rows are queued; the problem was: %s", waiting, self.text)
            self.text = None
