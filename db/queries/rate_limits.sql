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
SELECT pg_notify('gatehouse_unlocks', string_agg(encode(k, 'hex'), ' ')), record_event(@event::jsonb, @user_id::uuid)
FROM unnest(@keys::bytea[]) AS k;

-- PruneRateLimits deletes some of the rows that say nothing any more; replicas that prune at once share the work.
-- name: PruneRateLimits :execrows
DELETE FROM rate_limits
WHERE key = ANY (ARRAY (
    SELECT r.key
    FROM rate_limits r
    WHERE r.tat < (extract(epoch FROM now()) * 1000000)::bigint
    ORDER BY r.tat
    LIMIT @max_rows
    FOR UPDATE SKIP LOCKED
));
