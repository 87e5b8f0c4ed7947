-- name: InsertUser :one
INSERT INTO users (id, username, username_key, password_hash)
VALUES (@id, @username, @username_key, @password_hash)
RETURNING id, username, username_key, disabled_at, token_version, created_at, updated_at;

-- name: UserByID :one
SELECT id, username, username_key, disabled_at, token_version, created_at, updated_at
FROM users
WHERE id = @id;

-- name: UserByKey :one
SELECT id, username, username_key, disabled_at, token_version, created_at, updated_at
FROM users
WHERE username_key = @username_key;

-- CredentialsByKey is the one query that reads a password hash.
-- name: CredentialsByKey :one
SELECT id, username, username_key, password_hash, disabled_at, token_version, created_at, updated_at
FROM users
WHERE username_key = @username_key;

-- name: ListUsers :many
SELECT id, username, username_key, disabled_at, token_version, created_at, updated_at
FROM users
WHERE username_key > @after
ORDER BY username_key
LIMIT @max_rows;

-- DisableUser changes nothing of a user who is disabled already: the first time stays, and so does the version.
-- name: DisableUser :one
WITH before AS (
    SELECT id, disabled_at IS NULL AS enabled
    FROM users
    WHERE users.username_key = @username_key
    FOR NO KEY UPDATE
), u AS (
    UPDATE users
    SET disabled_at   = coalesce(disabled_at, now()),
        token_version = token_version + CASE WHEN enabled THEN 1 ELSE 0 END,
        updated_at    = CASE WHEN enabled THEN now() ELSE updated_at END
    FROM before
    WHERE users.id = before.id
    RETURNING users.id, username, username_key, disabled_at, token_version, created_at, updated_at, enabled
), ended AS (
    UPDATE sessions
    SET ended_at = now(), end_reason = 'disabled'
    FROM u
    WHERE sessions.user_id = u.id
      AND sessions.ended_at IS NULL
), revoked AS (
    INSERT INTO revocations (user_id, version)
    SELECT id, token_version
    FROM u
    WHERE enabled
)
SELECT id, username, username_key, disabled_at, token_version, created_at, updated_at
FROM u;

-- name: EnableUser :one
UPDATE users
SET disabled_at = NULL,
    updated_at  = CASE WHEN disabled_at IS NULL THEN updated_at ELSE now() END
WHERE username_key = @username_key
RETURNING id, username, username_key, disabled_at, token_version, created_at, updated_at;

-- name: SetPassword :one
WITH u AS (
    UPDATE users
    SET password_hash = @password_hash,
        token_version = token_version + 1,
        updated_at    = now()
    WHERE users.username_key = @username_key
    RETURNING id, username, username_key, disabled_at, token_version, created_at, updated_at
), ended AS (
    UPDATE sessions
    SET ended_at = now(), end_reason = 'operator'
    FROM u
    WHERE sessions.user_id = u.id
      AND sessions.ended_at IS NULL
), revoked AS (
    INSERT INTO revocations (user_id, version)
    SELECT id, token_version
    FROM u
)
SELECT id, username, username_key, disabled_at, token_version, created_at, updated_at
FROM u;

-- RehashPassword is a compare-and-set: it does nothing if the hash is no longer the one that was verified.
-- name: RehashPassword :exec
UPDATE users
SET password_hash = @new_hash,
    updated_at    = now()
WHERE id = @id
  AND password_hash = @old_hash;
