-- ListSigningKeys are those of all rings, in a state that counts: all, or those that have not
-- ended.
-- name: ListSigningKeys :many
SELECT 'access'::text AS use, kid, algorithm, state, public_jwk, sealed_private, lifetime_seconds, created_at, activated_at, retiring_at, ended_at
FROM signing_keys
WHERE @with_ended::boolean OR ended_at IS NULL
UNION ALL
SELECT 'id'::text, kid, algorithm, state, public_jwk, sealed_private, lifetime_seconds, created_at, activated_at, retiring_at, ended_at
FROM id_token_keys
WHERE @with_ended OR ended_at IS NULL
ORDER BY created_at, kid;

-- name: PutSigningKey :exec
INSERT INTO signing_keys (kid, algorithm, state, public_jwk, sealed_private, lifetime_seconds, created_at, activated_at, retiring_at, ended_at)
VALUES (@kid, @algorithm, @state, @public_jwk, @sealed_private, @lifetime_seconds, @created_at, @activated_at, @retiring_at, @ended_at)
ON CONFLICT (kid) DO UPDATE
SET state            = excluded.state,
    sealed_private   = excluded.sealed_private,
    lifetime_seconds = greatest(signing_keys.lifetime_seconds, excluded.lifetime_seconds),
    activated_at     = excluded.activated_at,
    retiring_at      = excluded.retiring_at,
    ended_at         = excluded.ended_at;

-- PutIDTokenKey is PutSigningKey in the other table.
-- name: PutIDTokenKey :exec
INSERT INTO id_token_keys (kid, algorithm, state, public_jwk, sealed_private, lifetime_seconds, created_at, activated_at, retiring_at, ended_at)
VALUES (@kid, @algorithm, @state, @public_jwk, @sealed_private, @lifetime_seconds, @created_at, @activated_at, @retiring_at, @ended_at)
ON CONFLICT (kid) DO UPDATE
SET state            = excluded.state,
    sealed_private   = excluded.sealed_private,
    lifetime_seconds = greatest(id_token_keys.lifetime_seconds, excluded.lifetime_seconds),
    activated_at     = excluded.activated_at,
    retiring_at      = excluded.retiring_at,
    ended_at         = excluded.ended_at;

-- RaiseTokenLifetime has to be done before a token is signed that lives so long.
-- name: RaiseTokenLifetime :exec
WITH of_id_tokens AS (
    UPDATE id_token_keys
    SET lifetime_seconds = @seconds
    WHERE ended_at IS NULL
      AND lifetime_seconds < @seconds
)
UPDATE signing_keys
SET lifetime_seconds = @seconds
WHERE ended_at IS NULL
  AND lifetime_seconds < @seconds;

-- Clock is the time now. The time of the transaction's beginning may be older, since it waited for
-- its turn.
-- name: Clock :one
SELECT clock_timestamp()::timestamptz;
