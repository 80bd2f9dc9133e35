VERSION: int

def rows(
    text: bytes,
    separator: bytes,
    received_ms: int,
    oldest_ms: int,
    newest_ms: int,
    identifier_chars_max: int,
    item_id_chars_max: int,
    metadata_bytes_max: int,
    project: bytes,
    tenant: bytes,
    user: bytes,
    makes_ids: bool,
    /,
) -> list[bytes] | None: ...
