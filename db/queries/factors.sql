-- TOTPOf finds since when a user has an app that shows codes.
-- name: TOTPOf :one
SELECT created_at
FROM totp_secrets
WHERE user_id = @user_id;

-- PasskeysOf finds the passkeys of a user, the oldest first. There are 30 at most.
-- name: PasskeysOf :many
SELECT *
FROM passkeys
WHERE user_id = @user_id
ORDER BY created_at, id;

-- TrustedDevicesOf finds the devices that a user trusts, the newest first.
-- name: TrustedDevicesOf :many
SELECT *
FROM trusted_devices
WHERE user_id = @user_id
  AND expires_at > now()
ORDER BY created_at DESC, device_id;

-- Each of the next statements is a part of a change of factors. ChangeFactors ends it in the same
-- transaction, and refuses it if the user has changed.

-- name: InsertTOTP :exec
INSERT INTO totp_secrets (user_id, sealed, last_step)
VALUES (@user_id, @sealed, @last_step);

-- name: DeleteTOTP :exec
DELETE FROM totp_secrets
WHERE user_id = @user_id;

-- InsertPasskey redeems the challenge that the passkey has answered. Of many answers to one, one
-- makes a passkey. It makes none if passkeys are made under another id by now.
-- name: InsertPasskey :execrows
WITH redeemed AS (
    INSERT INTO redeemed_proofs (digest, expires_at)
    VALUES (@challenge, now() + make_interval(secs => @challenge_seconds))
    ON CONFLICT DO NOTHING
    RETURNING digest
)
INSERT INTO passkeys (
    id, user_id, credential_id, public_key, name, sign_count, aaguid, backup_eligible, backed_up, user_verified, transports
)
SELECT @id, @user_id, @credential_id, @public_key, @name, @sign_count, @aaguid, @backup_eligible, @backed_up, @user_verified,
       @transports::text[]
FROM redeemed
JOIN passkey_rp ON rp_id = @rp_id;

-- name: DeletePasskey :execrows
DELETE FROM passkeys
WHERE id = @id
  AND user_id = @user_id;

-- name: DeleteRecoveryCodes :exec
DELETE FROM recovery_codes
WHERE user_id = @user_id;

-- name: InsertRecoveryCodes :exec
INSERT INTO recovery_codes (user_id, digest)
SELECT @user_id, unnest(@digests::bytea[]);

-- ChangeFactors finds no user who has changed since it was read. If there is a session, it must be
-- live. It goes on, with another number, so that its earlier cookies are void. Of the others, those
-- end that should.
-- name: ChangeFactors :one
WITH u AS (
    UPDATE users
    SET token_version        = token_version + CASE WHEN @end_others::boolean THEN 1 ELSE 0 END,
        password_changed_at  = CASE WHEN @forget_devices::boolean THEN now() ELSE password_changed_at END,
        password_hash        = coalesce(sqlc.narg('password_hash')::text, password_hash),
        password_removed_at  = CASE WHEN sqlc.narg('password_hash')::text IS NULL THEN password_removed_at ELSE now() END,
        must_change_password = must_change_password AND sqlc.narg('password_hash')::text IS NULL,
        password_expires_at  = CASE WHEN sqlc.narg('password_hash')::text IS NULL THEN password_expires_at END,
        updated_at           = now()
    WHERE users.id = @user_id
      AND users.token_version = @token_version
      AND users.updated_at = @updated_at
      AND users.disabled_at IS NULL
      AND (sqlc.narg('session_id')::uuid IS NULL OR EXISTS (
          SELECT FROM sessions s
          WHERE s.id = sqlc.narg('session_id')::uuid
            AND s.user_id = users.id
            AND s.browser
            AND s.ended_at IS NULL
            AND s.idle_expires_at > now()
            AND s.expires_at > now()
      ))
    RETURNING users.id
), kept AS (
    UPDATE sessions
    SET counter   = counter + CASE WHEN @new_cookie::boolean THEN 1 ELSE 0 END,
        amr       = coalesce(sqlc.narg('amr')::text[], amr)
    FROM u
    WHERE sessions.id = sqlc.narg('session_id')::uuid
    RETURNING sessions.counter, sessions.expires_at, sessions.idle_seconds
)
SELECT sqlc.embed(accounts), coalesce(kept.counter, 0)::bigint AS counter,
       coalesce(kept.expires_at, now())::timestamptz AS expires_at,
       coalesce(kept.idle_seconds, 0)::integer AS idle_seconds, now()::timestamptz AS now
FROM u
LEFT JOIN kept ON true
CROSS JOIN LATERAL account_of(u.id) AS accounts
CROSS JOIN record_event(@event::jsonb, u.id)
CROSS JOIN LATERAL end_sessions(
    CASE WHEN @end_others::boolean THEN u.id END,
    coalesce(sqlc.narg('session_id')::uuid, '00000000-0000-0000-0000-000000000000'), 'password'
);

-- DistrustDevices lets no device of a user be trusted any more. It comes after ChangeFactors, and
-- is no part of it: that may have waited for somebody who has trusted a device, and would not see
-- it.
-- name: DistrustDevices :exec
DELETE FROM trusted_devices
WHERE user_id = @user_id;

-- name: RenamePasskey :execrows
WITH renamed AS (
    UPDATE passkeys
    SET name = @name
    WHERE passkeys.id = @id
      AND passkeys.user_id = @user_id
    RETURNING passkeys.user_id
)
SELECT record_event(@event::jsonb, renamed.user_id)
FROM renamed;

-- ForgetDevices makes devices of a user unknown for the second factor: one, or all of them.
-- name: ForgetDevices :one
WITH gone AS (
    DELETE FROM trusted_devices
    WHERE trusted_devices.user_id = @user_id
      AND (sqlc.narg('device_id')::uuid IS NULL OR trusted_devices.device_id = sqlc.narg('device_id')::uuid)
    RETURNING trusted_devices.device_id
)
SELECT count(*) AS gone, record_event(@event::jsonb, @user_id) AS event
FROM gone;

-- ClaimPasskeyRP notes the id under which passkeys are made. It is another one only as long as
-- there are none.
-- name: ClaimPasskeyRP :execrows
INSERT INTO passkey_rp AS r (rp_id)
VALUES (@rp_id)
ON CONFLICT (only_row) DO UPDATE
SET rp_id = excluded.rp_id
WHERE r.rp_id = excluded.rp_id
   OR NOT EXISTS (SELECT FROM passkeys);

-- PasskeyRP finds the id under which the passkeys that there are were made.
-- name: PasskeyRP :one
SELECT rp_id
FROM passkey_rp
WHERE EXISTS (SELECT FROM passkeys);

-- PruneProofs deletes some of the redeemed proofs that are over.
-- name: PruneProofs :execrows
DELETE FROM redeemed_proofs
WHERE digest = ANY (ARRAY(
    SELECT x.digest
    FROM redeemed_proofs x
    WHERE x.expires_at < now() - make_interval(secs => @older_than_seconds)
    ORDER BY x.expires_at
    LIMIT @max_rows
    FOR UPDATE SKIP LOCKED
));

-- PruneTrustedDevices deletes some of the devices that are trusted no more.
-- name: PruneTrustedDevices :execrows
DELETE FROM trusted_devices
WHERE (user_id, device_id) IN (
    SELECT x.user_id, x.device_id
    FROM trusted_devices x
    WHERE x.expires_at < now()
    ORDER BY x.expires_at
    LIMIT @max_rows
    FOR UPDATE SKIP LOCKED
);
