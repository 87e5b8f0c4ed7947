-- What is proved besides the password. A statement that redeems something compares all that it is
-- bound to, and redeems the login that it is proved for in the same go: of many at once, one does.

-- PendingLogin finds the user of a login between its two steps, and whether it was redeemed.
-- name: PendingLogin :one
SELECT sqlc.embed(accounts), EXISTS (SELECT FROM redeemed_proofs p WHERE p.digest = @digest) AS redeemed
FROM accounts
WHERE accounts.id = @user_id;

-- TryFactorCode counts a code before it is looked at, so that no number of them at once is more than
-- the most in a row. It counts none for a login that was redeemed, or whose user has changed.
-- name: TryFactorCode :one
WITH u AS (
    UPDATE users
    SET factor_failures = coalesce(factor_failures, 0) + 1
    WHERE users.id = @user_id
      AND users.token_version = @token_version
      AND users.disabled_at IS NULL
      AND coalesce(users.factor_failures, 0) < @most::integer
      AND NOT EXISTS (SELECT FROM redeemed_proofs p WHERE p.digest = @digest)
    RETURNING users.id
)
SELECT sqlc.embed(accounts), t.sealed
FROM u
JOIN accounts ON accounts.id = u.id
LEFT JOIN totp_secrets t ON t.user_id = u.id;

-- UseTOTP uses a step, which must be a later one than the last.
-- name: UseTOTP :execrows
WITH u AS (
    UPDATE users
    SET factor_failures = NULL
    WHERE users.id = @user_id
      AND users.token_version = @token_version
      AND users.disabled_at IS NULL
      AND EXISTS (SELECT FROM totp_secrets t WHERE t.user_id = users.id AND t.last_step < @step)
      AND NOT EXISTS (SELECT FROM redeemed_proofs p WHERE p.digest = @digest)
    RETURNING users.id
), used AS (
    UPDATE totp_secrets
    SET last_step = @step
    FROM u
    WHERE totp_secrets.user_id = u.id
      AND totp_secrets.last_step < @step
    RETURNING totp_secrets.user_id
)
INSERT INTO redeemed_proofs (digest, expires_at)
SELECT @digest, now() + make_interval(secs => @lifetime_seconds)
FROM used;

-- name: UseRecoveryCode :execrows
WITH u AS (
    UPDATE users
    SET factor_failures = NULL
    WHERE users.id = @user_id
      AND users.token_version = @token_version
      AND users.disabled_at IS NULL
      AND EXISTS (
          SELECT FROM recovery_codes c
          WHERE c.user_id = users.id AND c.digest = @code AND c.used_at IS NULL
      )
      AND NOT EXISTS (SELECT FROM redeemed_proofs p WHERE p.digest = @digest)
    RETURNING users.id
), used AS (
    UPDATE recovery_codes
    SET used_at = now()
    FROM u
    WHERE recovery_codes.user_id = u.id
      AND recovery_codes.digest = @code
      AND recovery_codes.used_at IS NULL
    RETURNING recovery_codes.user_id
), redeemed AS (
    INSERT INTO redeemed_proofs (digest, expires_at)
    SELECT @digest, now() + make_interval(secs => @lifetime_seconds)
    FROM used
)
SELECT record_event(@event::jsonb, used.user_id)
FROM used;

-- PasskeysToProve finds the passkeys of a user, the oldest first. There are 30 at most.
-- name: PasskeysToProve :many
SELECT credential_id, transports
FROM passkeys
WHERE user_id = @user_id
ORDER BY created_at, id;

-- PasskeyByCredential finds a passkey by what its authenticator calls it, and its user.
-- name: PasskeyByCredential :one
SELECT sqlc.embed(accounts), sqlc.embed(passkeys)
FROM passkeys
JOIN accounts ON accounts.id = passkeys.user_id
WHERE passkeys.credential_id = @credential_id;

-- UsePasskey notes a use. The counter must be as it was read: of two clones at once, one is good.
-- What it redeems is the challenge that the passkey has answered, and the login that it is a second
-- factor of.
-- name: UsePasskey :execrows
WITH u AS (
    SELECT users.id
    FROM users
    WHERE users.id = @user_id
      AND users.token_version = @token_version
      AND users.disabled_at IS NULL
      AND NOT EXISTS (SELECT FROM redeemed_proofs p WHERE p.digest = ANY (@digests::bytea[]))
    FOR NO KEY UPDATE
), used AS (
    UPDATE passkeys
    SET sign_count   = @sign_count,
        backed_up    = @backed_up,
        last_used_at = now()
    FROM u
    WHERE passkeys.id = @id
      AND passkeys.user_id = u.id
      AND passkeys.sign_count = @before
    RETURNING passkeys.user_id
), redeemed AS (
    INSERT INTO redeemed_proofs (digest, expires_at)
    SELECT unnest(@digests::bytea[]), now() + make_interval(secs => @lifetime_seconds)
    FROM used
)
SELECT CASE WHEN sqlc.narg('event')::text IS NOT NULL
            THEN record_event(sqlc.narg('event')::text::jsonb, used.user_id) END AS event
FROM used;

-- RedeemProof redeems a login between its two steps that has proved all already.
-- name: RedeemProof :execrows
INSERT INTO redeemed_proofs (digest, expires_at)
VALUES (@digest, now() + make_interval(secs => @lifetime_seconds))
ON CONFLICT DO NOTHING;

-- DeviceIsTrusted reports whether a user leaves out the second factor on a device.
-- name: DeviceIsTrusted :one
SELECT EXISTS (
    SELECT FROM trusted_devices
    WHERE user_id = @user_id
      AND device_id = @device_id
      AND expires_at > now()
) AS trusted;

-- TrustDevice lets a user leave out the second factor on a device, which takes the place of another
-- one. Of too many, those that were trusted longest ago are forgotten.
-- name: TrustDevice :execrows
WITH u AS (
    SELECT users.id
    FROM users
    WHERE users.id = @user_id
      AND users.token_version = @token_version
      AND users.disabled_at IS NULL
    FOR NO KEY UPDATE
), forgotten AS (
    DELETE FROM trusted_devices
    WHERE (user_id, device_id) IN (
        (
            SELECT d.user_id, d.device_id
            FROM trusted_devices d
            JOIN u ON u.id = d.user_id
            WHERE d.device_id <> @in_place_of
            ORDER BY d.created_at DESC, d.device_id
            OFFSET @max_others::integer
        ) UNION ALL (
            SELECT u.id, @in_place_of
            FROM u
        )
    )
), trusted AS (
    INSERT INTO trusted_devices AS d (user_id, device_id, expires_at, client_address, user_agent)
    SELECT u.id, @device_id, now() + make_interval(secs => @lifetime_seconds), @client_address, @user_agent
    FROM u
    RETURNING d.user_id
)
SELECT record_event(@event::jsonb, trusted.user_id)
FROM trusted;
