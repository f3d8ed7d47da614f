"""The parts of a batch's source, in SQL: from `ggos`, or from what a rollback removed."""

# A part that was retired as a whole later has a batch of its own: this one only made it.
_FROM_GGOS = """
    SELECT split_position, address, amount, owner_id, reference,
        CASE WHEN born_retired THEN retire_gsrn END AS retire_gsrn,
        CASE WHEN born_retired THEN retire_address END AS retire_address
    FROM ggos CROSS JOIN LATERAL (
        SELECT retired AND coalesce(spent_at = created_at, NOT EXISTS (
            SELECT FROM batches AS own WHERE own.ggo_id = ggos.id AND own.state <> 'DECLINED'
        )) AS born_retired
    ) AS origin
    WHERE parent_id = batch.ggo_id AND batch.state <> 'DECLINED'
"""
_WHOLE = """
    SELECT 0, source.address, source.amount, source.owner_id, NULL, source.retire_gsrn,
        source.retire_address
    WHERE source.retired AND batch.state <> 'DECLINED'
"""
_ROLLED_BACK = """
    SELECT split_position, address, amount, owner_id, reference, retire_gsrn, retire_address
    FROM jsonb_to_recordset(batch.undone -> 'parts') AS part (
        split_position integer, address text, amount bigint, owner_id bigint, reference text,
        retire_gsrn text, retire_address text
    )
    WHERE batch.state = 'DECLINED'
"""
_ROLLED_BACK_WHOLE = """
    SELECT 0, source.address, source.amount, batch.user_id, NULL, batch.undone ->> 'retire_gsrn',
        batch.undone ->> 'retire_address'
    WHERE batch.state = 'DECLINED' AND batch.undone ->> 'retire_address' IS NOT NULL
"""

PARTS = f"{_FROM_GGOS} UNION ALL {_WHOLE} UNION ALL {_ROLLED_BACK} UNION ALL {_ROLLED_BACK_WHOLE}"
"""The parts of a row `batch` of `batches` with the row `source` of `ggos`. A retirement of the whole source
is one part: the source itself."""
