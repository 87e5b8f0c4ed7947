-- name: InsertUser :one
WITH u AS (
    INSERT INTO users (id, username, username_key, password_hash, must_change_password, password_expires_at)
    VALUES (@id, @username, @username_key, @password_hash, @must_change, now() + make_interval(secs => sqlc.narg('good_for_seconds')))
    RETURNING id, username, username_key, disabled_at, token_version, created_at, updated_at, must_change_password, password_expires_at
), granted AS (
    INSERT INTO user_roles (user_id, role_name)
    SELECT u.id, unnest(@roles::text[])
    FROM u
)
SELECT u.id, username, username_key, disabled_at, token_version, created_at, updated_at, must_change_password, password_expires_at
FROM u, record_event(@event::jsonb, u.id);

-- name: UserByID :one
SELECT u.id, u.username, u.username_key, u.disabled_at, u.token_version, u.created_at, u.updated_at, u.must_change_password,
       u.password_expires_at, r.roles::text[] AS roles, r.permissions::text[] AS permissions
FROM users u
JOIN user_rights r ON r.user_id = u.id
WHERE u.id = @id;

-- name: UserByKey :one
SELECT u.id, u.username, u.username_key, u.disabled_at, u.token_version, u.created_at, u.updated_at, u.must_change_password,
       u.password_expires_at, r.roles::text[] AS roles, r.permissions::text[] AS permissions
FROM users u
JOIN user_rights r ON r.user_id = u.id
WHERE u.username_key = @username_key;

-- CredentialsByKey is the one query that reads a password hash. For a name that nobody has it gives a stand-in, whose
-- rights are looked for all the same, and who takes as long to send and to read: how long a refusal takes must not tell
-- which names there are.
-- name: CredentialsByKey :one
SELECT (u.id IS NOT NULL)::boolean AS found, coalesce(u.password_expires_at <= now(), false)::boolean AS password_expired,
       coalesce(u.id, '00000000-0000-0000-0000-000000000000')::uuid AS id, coalesce(u.username, k.key)::text AS username,
       k.key AS username_key, coalesce(u.password_hash, repeat('.', 77))::text AS password_hash, u.disabled_at,
       coalesce(u.token_version, 1)::bigint AS token_version, coalesce(u.created_at, now())::timestamptz AS created_at,
       coalesce(u.updated_at, now())::timestamptz AS updated_at, coalesce(u.must_change_password, false)::boolean AS must_change_password,
       u.password_expires_at,
       ARRAY(
           SELECT ur.role_name
           FROM user_roles ur
           WHERE ur.user_id = coalesce(u.id, '00000000-0000-0000-0000-000000000000')
           ORDER BY ur.role_name COLLATE "C"
       )::text[] AS roles,
       ARRAY(
           SELECT DISTINCT rp.permission COLLATE "C"
           FROM user_roles ur
           JOIN role_permissions rp ON rp.role_name = ur.role_name
           WHERE ur.user_id = coalesce(u.id, '00000000-0000-0000-0000-000000000000')
           ORDER BY 1
       )::text[] AS permissions
FROM (SELECT @username_key::text AS key) k
LEFT JOIN users u ON u.username_key = k.key;

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
    RETURNING users.id, username, username_key, disabled_at, token_version, created_at, updated_at, must_change_password, password_expires_at
)
SELECT u.id, u.username, u.username_key, u.disabled_at, u.token_version, u.created_at, u.updated_at, u.must_change_password,
       u.password_expires_at, r.roles::text[] AS roles, r.permissions::text[] AS permissions
FROM u
JOIN user_rights r ON r.user_id = u.id
CROSS JOIN record_event(@event::jsonb, u.id)
CROSS JOIN LATERAL end_sessions(u.id, '00000000-0000-0000-0000-000000000000', 'disabled');

-- name: EnableUser :one
WITH u AS (
    UPDATE users
    SET disabled_at = NULL,
        updated_at  = CASE WHEN disabled_at IS NULL THEN updated_at ELSE now() END
    WHERE users.username_key = @username_key
      AND (sqlc.narg('unless_changed')::timestamptz IS NULL OR users.updated_at = sqlc.narg('unless_changed')::timestamptz)
    RETURNING id, username, username_key, disabled_at, token_version, created_at, updated_at, must_change_password, password_expires_at
)
SELECT u.id, u.username, u.username_key, u.disabled_at, u.token_version, u.created_at, u.updated_at, u.must_change_password,
       u.password_expires_at, r.roles::text[] AS roles, r.permissions::text[] AS permissions
FROM u
JOIN user_rights r ON r.user_id = u.id
CROSS JOIN record_event(@event::jsonb, u.id);

-- name: SetPassword :one
WITH u AS (
    UPDATE users
    SET password_hash        = @password_hash,
        must_change_password = @must_change,
        password_expires_at  = now() + make_interval(secs => sqlc.narg('good_for_seconds')),
        token_version        = token_version + 1,
        updated_at           = now()
    WHERE users.username_key = @username_key
    RETURNING id, username, username_key, disabled_at, token_version, created_at, updated_at, must_change_password, password_expires_at
)
SELECT u.id, u.username, u.username_key, u.disabled_at, u.token_version, u.created_at, u.updated_at, u.must_change_password,
       u.password_expires_at, r.roles::text[] AS roles, r.permissions::text[] AS permissions
FROM u
JOIN user_rights r ON r.user_id = u.id
CROSS JOIN record_event(@event::jsonb, u.id)
CROSS JOIN LATERAL end_sessions(u.id, '00000000-0000-0000-0000-000000000000', 'password');

-- ReplacePassword is SetPassword by whoever has shown the old one. It finds no user who has changed since that was read, so
-- that of many who show it at once, one replaces it.
-- name: ReplacePassword :one
WITH u AS (
    UPDATE users
    SET password_hash        = @password_hash,
        must_change_password = false,
        password_expires_at  = NULL,
        token_version        = token_version + 1,
        updated_at           = now()
    WHERE users.id = @user_id
      AND users.token_version = @token_version
      AND users.disabled_at IS NULL
      AND (users.password_expires_at IS NULL OR users.password_expires_at > now())
    RETURNING id, username, username_key, disabled_at, token_version, created_at, updated_at, must_change_password, password_expires_at
)
SELECT u.id, u.username, u.username_key, u.disabled_at, u.token_version, u.created_at, u.updated_at, u.must_change_password,
       u.password_expires_at, r.roles::text[] AS roles, r.permissions::text[] AS permissions
FROM u
JOIN user_rights r ON r.user_id = u.id
CROSS JOIN record_event(@event::jsonb, u.id)
CROSS JOIN LATERAL end_sessions(u.id, '00000000-0000-0000-0000-000000000000', 'password');

-- RequirePasswordChange leaves an initial secret as long as it was.
-- name: RequirePasswordChange :one
WITH u AS (
    UPDATE users
    SET must_change_password = true,
        token_version        = token_version + 1,
        updated_at           = now()
    WHERE users.username_key = @username_key
      AND (sqlc.narg('unless_changed')::timestamptz IS NULL OR users.updated_at = sqlc.narg('unless_changed')::timestamptz)
    RETURNING id, username, username_key, disabled_at, token_version, created_at, updated_at, must_change_password, password_expires_at
)
SELECT u.id, u.username, u.username_key, u.disabled_at, u.token_version, u.created_at, u.updated_at, u.must_change_password,
       u.password_expires_at, r.roles::text[] AS roles, r.permissions::text[] AS permissions
FROM u
JOIN user_rights r ON r.user_id = u.id
CROSS JOIN record_event(@event::jsonb, u.id)
CROSS JOIN LATERAL end_sessions(u.id, '00000000-0000-0000-0000-000000000000', 'password');

-- RehashPassword is a compare-and-set: it does nothing if the hash is no longer the one that was verified.
-- name: RehashPassword :exec
UPDATE users
SET password_hash = @new_hash,
    updated_at    = now()
WHERE id = @id
  AND password_hash = @old_hash;
