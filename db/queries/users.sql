-- name: InsertUser :one
WITH u AS (
    INSERT INTO users (id, username, username_key, password_hash)
    VALUES (@id, @username, @username_key, @password_hash)
    RETURNING id, username, username_key, disabled_at, token_version, created_at, updated_at
), granted AS (
    INSERT INTO user_roles (user_id, role_name)
    SELECT u.id, unnest(@roles::text[])
    FROM u
)
SELECT u.id, username, username_key, disabled_at, token_version, created_at, updated_at
FROM u, record_event(@event::jsonb, u.id);

-- name: UserByID :one
SELECT u.id, u.username, u.username_key, u.disabled_at, u.token_version, u.created_at, u.updated_at,
       r.roles::text[] AS roles, r.permissions::text[] AS permissions
FROM users u
JOIN user_rights r ON r.user_id = u.id
WHERE u.id = @id;

-- name: UserByKey :one
SELECT u.id, u.username, u.username_key, u.disabled_at, u.token_version, u.created_at, u.updated_at,
       r.roles::text[] AS roles, r.permissions::text[] AS permissions
FROM users u
JOIN user_rights r ON r.user_id = u.id
WHERE u.username_key = @username_key;

-- CredentialsByKey is the one query that reads a password hash.
-- name: CredentialsByKey :one
SELECT u.id, u.username, u.username_key, u.password_hash, u.disabled_at, u.token_version, u.created_at, u.updated_at,
       r.roles::text[] AS roles, r.permissions::text[] AS permissions
FROM users u
JOIN user_rights r ON r.user_id = u.id
WHERE u.username_key = @username_key;

-- name: ListUsers :many
SELECT u.id, u.username, u.username_key, u.disabled_at, u.token_version, u.created_at, u.updated_at,
       r.roles::text[] AS roles, r.permissions::text[] AS permissions
FROM users u
JOIN user_rights r ON r.user_id = u.id
WHERE u.username_key > @after
ORDER BY u.username_key
LIMIT @max_rows;

-- DisableUser changes nothing of a user who is disabled already: the first time stays, and so does the version.
-- name: DisableUser :one
WITH before AS (
    SELECT id, disabled_at IS NULL AS enabled
    FROM users
    WHERE users.username_key = @username_key
      AND (sqlc.narg('unless_changed')::timestamptz IS NULL OR users.updated_at = sqlc.narg('unless_changed')::timestamptz)
    FOR NO KEY UPDATE
), u AS (
    UPDATE users
    SET disabled_at   = coalesce(disabled_at, now()),
        token_version = token_version + CASE WHEN enabled THEN 1 ELSE 0 END,
        updated_at    = CASE WHEN enabled THEN now() ELSE updated_at END
    FROM before
    WHERE users.id = before.id
    RETURNING users.id, username, username_key, disabled_at, token_version, created_at, updated_at
), ended AS (
    UPDATE sessions
    SET ended_at = now(), end_reason = 'disabled'
    FROM u
    WHERE sessions.user_id = u.id
      AND sessions.ended_at IS NULL
)
SELECT u.id, u.username, u.username_key, u.disabled_at, u.token_version, u.created_at, u.updated_at,
       r.roles::text[] AS roles, r.permissions::text[] AS permissions
FROM u
JOIN user_rights r ON r.user_id = u.id
CROSS JOIN record_event(@event::jsonb, u.id);

-- name: EnableUser :one
WITH u AS (
    UPDATE users
    SET disabled_at = NULL,
        updated_at  = CASE WHEN disabled_at IS NULL THEN updated_at ELSE now() END
    WHERE users.username_key = @username_key
      AND (sqlc.narg('unless_changed')::timestamptz IS NULL OR users.updated_at = sqlc.narg('unless_changed')::timestamptz)
    RETURNING id, username, username_key, disabled_at, token_version, created_at, updated_at
)
SELECT u.id, u.username, u.username_key, u.disabled_at, u.token_version, u.created_at, u.updated_at,
       r.roles::text[] AS roles, r.permissions::text[] AS permissions
FROM u
JOIN user_rights r ON r.user_id = u.id
CROSS JOIN record_event(@event::jsonb, u.id);

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
    SET ended_at = now(), end_reason = 'password'
    FROM u
    WHERE sessions.user_id = u.id
      AND sessions.ended_at IS NULL
)
SELECT u.id, u.username, u.username_key, u.disabled_at, u.token_version, u.created_at, u.updated_at,
       r.roles::text[] AS roles, r.permissions::text[] AS permissions
FROM u
JOIN user_rights r ON r.user_id = u.id
CROSS JOIN record_event(@event::jsonb, u.id);

-- RehashPassword is a compare-and-set: it does nothing if the hash is no longer the one that was verified.
-- name: RehashPassword :exec
UPDATE users
SET password_hash = @new_hash,
    updated_at    = now()
WHERE id = @id
  AND password_hash = @old_hash;
