from typing import TypeVar

H = TypeVar("H")

VERSION: int

def single(
    data: bytes, known: dict[bytes, tuple[Reader, H, int]], received_ms: int, /
) -> tuple[H, bytes] | None: ...

class Reader:
    def __init__(
        self,
        identifier_chars_max: int,
        item_id_chars_max: int,
        metadata_bytes_max: int,
        age_ms_max: int,
        future_ms_max: int,
        project: bytes,
        tenant: bytes,
        user: bytes,
        /,
    ) -> None: ...
    def rows(
        self, text: bytes, separator: bytes, received_ms: int, makes_ids: bool, /
    ) -> list[bytes] | None: ...
