-- TakeRateLimits takes one from each limit, or from none.
-- name: TakeRateLimits :one
SELECT t.waits::bigint[] AS waits, t.tats::bigint[] AS tats, t.helds::boolean[] AS helds
FROM rate_limits_reserve(
    @keys::bytea[], @owners::bytea[], @bursts::bigint[], @steps::bigint[], @binds::boolean[], @hold::bigint, @reserve::boolean
) AS t;

-- name: SettleRateLimits :exec
SELECT rate_limits_settle(@keys::bytea[], @steps::bigint[], @tats::bigint[], @give_back::boolean);

-- GiveBackRateLimits gives back what was taken for good, but for what has come back by itself. It
-- locks rows in the order of rate_limits_reserve.
-- name: GiveBackRateLimits :exec
UPDATE rate_limits
SET tat = rate_limits.tat - least(greatest(k.tat - (extract(epoch FROM now()) * 1000000)::bigint, 0), k.step)
FROM (
    SELECT unnest(@keys::bytea[]) AS key, unnest(@steps::bigint[]) AS step, unnest(@tats::bigint[]) AS tat
) k
JOIN (
    SELECT r.key
    FROM rate_limits r
    WHERE r.key = ANY (@keys::bytea[])
    ORDER BY r.key
    FOR UPDATE
) locked ON locked.key = k.key
WHERE rate_limits.key = k.key;

-- DeleteRateLimits also makes the codes of the user's second factor good again, if that is wanted. It
-- locks rows in the order of rate_limits_reserve. It tells the replicas, which
-- remember refusals. Each key has a notification of its own: an owner may have more keys than fit
-- into one.
-- name: DeleteRateLimits :one
WITH gone AS (
    DELETE FROM rate_limits
    WHERE key IN (
        SELECT r.key
        FROM rate_limits r
        WHERE r.key = ANY (@keys::bytea[])
           OR r.owner = @owner::bytea
        ORDER BY r.key
        FOR UPDATE
    )
    RETURNING rate_limits.key
), unlocked AS (
    UPDATE users
    SET factor_failures = NULL
    WHERE users.id = @user_id::uuid
      AND @codes::boolean
      AND users.factor_failures IS NOT NULL
), told AS (
    SELECT k, pg_notify('gatehouse_unlocks', encode(k, 'hex'))
    FROM (SELECT unnest(@keys::bytea[]) AS k UNION SELECT gone.key FROM gone) AS all_keys
)
SELECT array(SELECT told.k FROM told)::bytea[] AS reset, record_event(@event::jsonb, @user_id::uuid) AS event;

-- PruneRateLimits deletes some of the rows that limit nothing any more. Replicas that prune at once
-- share the work.
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
