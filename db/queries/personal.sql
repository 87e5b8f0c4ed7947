-- What is stored of a user, for that user: of each list the newest rows. The hashes, salts and
-- digests of secrets stay here.

-- name: PersonalSessions :many
SELECT s.id, s.created_at, s.last_used_at, s.idle_expires_at, s.expires_at, s.ended_at, s.end_reason, s.client_address, s.user_agent, s.rotated_network, s.scope,
       s.browser, s.parent_id, s.offline, s.trusted, coalesce(s.auth_time, s.created_at)::timestamptz AS auth_time, s.amr, s.openid, s.claims, s.resource,
       s.client_id, c.name AS client_name
FROM sessions s
LEFT JOIN clients c ON c.client_id = s.client_id
WHERE s.user_id = @user_id
ORDER BY s.created_at DESC, s.id DESC
LIMIT @max_rows;

-- name: PersonalConsents :many
SELECT g.words, g.granted_at, c.client_id, c.name AS client_name
FROM consents g
JOIN clients c ON c.client_id = g.client_id
WHERE g.user_id = @user_id
  AND (@all_clients::boolean OR g.client_id = @client_id::text)
ORDER BY g.granted_at DESC, g.client_id
LIMIT @max_rows;

-- name: PersonalCodes :many
SELECT a.session_id, a.redirect_uri, a.scope, a.openid, a.claims, a.resource, a.auth_time, a.expires_at, a.redeemed_at, a.started_id, c.client_id, c.name AS client_name
FROM authorization_codes a
LEFT JOIN clients c ON c.client_id = a.client_id
WHERE a.user_id = @user_id
ORDER BY a.expires_at DESC, a.digest
LIMIT @max_rows;

-- name: PersonalMails :many
SELECT kind, created_at, expires_at, outcome, done_at
FROM mails
WHERE user_id = @user_id
ORDER BY created_at DESC, id DESC
LIMIT @max_rows;

-- name: PersonalChallenges :many
SELECT purpose, email, created_at, expires_at, redeemed_at
FROM challenges
WHERE user_id = @user_id
ORDER BY created_at DESC, id DESC
LIMIT @max_rows;

-- name: PasswordRemovedAt :one
SELECT password_removed_at
FROM users
WHERE id = @id;

-- name: PersonalTOTPs :many
SELECT created_at
FROM totp_secrets
WHERE user_id = @user_id
LIMIT @max_rows;

-- name: PersonalPasskeys :many
SELECT name, aaguid, backup_eligible, backed_up, user_verified, transports, created_at, last_used_at
FROM passkeys
WHERE user_id = @user_id
ORDER BY created_at DESC, id DESC
LIMIT @max_rows;

-- name: PersonalRecoveryCodes :many
SELECT created_at, used_at
FROM recovery_codes
WHERE user_id = @user_id
ORDER BY created_at DESC, used_at
LIMIT @max_rows;

-- name: PersonalDevices :many
SELECT created_at, expires_at, client_address, user_agent
FROM trusted_devices
WHERE user_id = @user_id
ORDER BY created_at DESC, device_id DESC
LIMIT @max_rows;

-- PersonalEvents looks for what was done to the user and for what the user did by an index each,
-- and takes once what is both. One condition for the two would look through the whole log.
-- name: PersonalEvents :many
WITH done_to AS (
    SELECT e.*
    FROM audit_events e
    WHERE e.user_id = @user_id
    ORDER BY e.at DESC, e.id DESC
    LIMIT @max_rows
), done_by AS (
    SELECT e.*
    FROM audit_events e
    WHERE e.actor_id = @user_id
    ORDER BY e.at DESC, e.id DESC
    LIMIT @max_rows
)
SELECT e.id, e.at, e.action, e.outcome, e.actor, e.actor_id, e.user_id, e.target, e.request_id, e.client_address, e.user_agent, e.count
FROM (SELECT * FROM done_to UNION SELECT * FROM done_by) e
ORDER BY e.at DESC, e.id DESC
LIMIT @max_rows;
