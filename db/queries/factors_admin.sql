-- LockUser keeps others from changing a user until the transaction ends. What comes next sees what
-- they have changed until then.
-- name: LockUser :one
SELECT id
FROM users
WHERE username_key = @username_key
FOR NO KEY UPDATE;

-- ResetFactors takes all that a user proves besides the password, with all that hangs on it. A user
-- without a password stays without one until somebody sets it. account_of looks when all is gone.
-- name: ResetFactors :one
WITH u AS (
    UPDATE users
    SET token_version       = token_version + 1,
        factor_failures     = NULL,
        password_changed_at = now(), -- no device is known any more, or trusted
        updated_at          = now()
    WHERE users.username_key = @username_key
    RETURNING users.id
), totp AS (
    DELETE FROM totp_secrets
    USING u
    WHERE totp_secrets.user_id = u.id
    RETURNING 1
), keys AS (
    DELETE FROM passkeys
    USING u
    WHERE passkeys.user_id = u.id
    RETURNING 1
), codes AS (
    DELETE FROM recovery_codes
    USING u
    WHERE recovery_codes.user_id = u.id
    RETURNING 1
), gone AS (
    SELECT (SELECT count(*) FROM totp) + (SELECT count(*) FROM keys) + (SELECT count(*) FROM codes) AS n
)
SELECT accounts.*
FROM u
CROSS JOIN gone
CROSS JOIN LATERAL account_of(CASE WHEN gone.n >= 0 THEN u.id END) AS accounts
CROSS JOIN record_event(@event::jsonb, u.id)
CROSS JOIN LATERAL end_sessions(u.id, '00000000-0000-0000-0000-000000000000', 'password');

-- SealedTOTPs reads the secrets of authenticator apps in the order of their users.
-- name: SealedTOTPs :many
SELECT user_id, sealed
FROM totp_secrets
WHERE user_id > @after
ORDER BY user_id
LIMIT @max_rows;

-- ResealTOTPs replaces secrets that are still as they were.
-- name: ResealTOTPs :one
WITH resealed AS (
    UPDATE totp_secrets
    SET sealed = x.after
    FROM (SELECT unnest(@user_ids::uuid[]) AS user_id, unnest(@before::bytea[]) AS before, unnest(@after::bytea[]) AS after) x
    WHERE totp_secrets.user_id = ANY (@user_ids::uuid[]) -- by the key, however many there are
      AND totp_secrets.user_id = x.user_id
      AND totp_secrets.sealed = x.before
    RETURNING 1
)
SELECT (SELECT count(*) FROM resealed)::bigint AS resealed, record_event(@event::jsonb, NULL) AS event;
