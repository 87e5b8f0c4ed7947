-- TakeRateLimits takes one from each limit, or from none.
-- name: TakeRateLimits :one
SELECT t.waits::bigint[] AS waits, t.tats::bigint[] AS tats
FROM rate_limits_take(@keys::bytea[], @bursts::bigint[], @steps::bigint[]) AS t;

-- name: GiveBackRateLimits :exec
SELECT rate_limits_give_back(@keys::bytea[], @steps::bigint[], @tats::bigint[]);

-- DeleteRateLimits locks in the order that rate_limits_take does. It tells the replicas, which remember refusals.
-- name: DeleteRateLimits :exec
WITH gone AS (
    DELETE FROM rate_limits
    WHERE key IN (
        SELECT r.key
        FROM rate_limits r
        WHERE r.key = ANY (@keys::bytea[])
        ORDER BY r.key
        FOR UPDATE
    )
)
SELECT pg_notify('gatehouse_unlocks', string_agg(encode(k, 'hex'), ' '))
FROM unnest(@keys::bytea[]) AS k;

-- PruneRateLimits deletes some of the rows that say nothing any more. One replica at a time does, and it waits for nobody.
-- name: PruneRateLimits :execrows
WITH turn AS MATERIALIZED (
    SELECT pg_try_advisory_xact_lock(@lock_id) AS ours
)
DELETE FROM rate_limits
WHERE key = ANY (ARRAY (
    SELECT r.key
    FROM rate_limits r, turn
    WHERE turn.ours
      AND r.tat < (extract(epoch FROM now()) * 1000000)::bigint
    ORDER BY r.tat
    LIMIT @max_rows
    FOR UPDATE OF r SKIP LOCKED
));
