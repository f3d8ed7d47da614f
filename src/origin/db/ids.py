"""Ids of version 2, made by PostgreSQL (see `origin.shared.uuid7`)."""


def uuid7_of(at: str) -> str:
    """Return the SQL of a new id of this moment, as `origin.shared.uuid7` makes it.

    :param at: SQL of a `timestamptz` in 1970 or later.
    """
    microseconds = f"(extract(epoch FROM {at}) * 1000000)::bigint"
    head = (
        f"(({microseconds} / 1000) << 16) | (7 << 12) | (mod({microseconds}, 1000) * 4096 / 1000)"
    )
    # The rest of a random UUID begins with the same variant.
    return f"(lpad(to_hex({head}), 16, '0') || substr(gen_random_uuid()::text, 20))::uuid"
