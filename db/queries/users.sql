-- InsertUser inserts nothing if the name has a skeleton and looks like another name. That is either
-- a name that is its own skeleton, as plain Latin names are, or one whose skeleton is on record. If
-- two strangers do so at once, a unique index refuses one of them.
-- name: InsertUser :one
WITH u AS (
    INSERT INTO users (id, username, username_key, username_address, password_hash, must_change_password, password_expires_at,
                       email, email_key, email_verified_at, verify_until)
    SELECT @id, @username, @username_key, sqlc.narg('username_address'), @password_hash, @must_change,
           now() + make_interval(secs => sqlc.narg('good_for_seconds')),
           sqlc.narg('email'), sqlc.narg('email_key'), CASE WHEN @email_verified::boolean THEN now() END,
           now() + make_interval(secs => sqlc.narg('verify_within_seconds'))
    WHERE NOT EXISTS (SELECT FROM users o WHERE o.username_key = sqlc.narg('skeleton')::text)
      AND NOT EXISTS (SELECT FROM username_skeletons s WHERE s.skeleton = sha256(convert_to(sqlc.narg('skeleton')::text, 'UTF8')))
    RETURNING users.id, users.username_key
), skeletons AS (
    INSERT INTO username_skeletons (user_id, skeleton, is_alone)
    SELECT u.id, sha256(convert_to(sqlc.narg('skeleton')::text, 'UTF8')), true
    FROM u
    WHERE sqlc.narg('skeleton')::text IS NOT NULL AND octet_length(u.username_key) <> char_length(u.username_key)
), granted AS (
    INSERT INTO user_roles (user_id, role_name)
    SELECT u.id, unnest(@roles::text[])
    FROM u
)
SELECT accounts.*
FROM u
CROSS JOIN LATERAL account_of(u.id) AS accounts
CROSS JOIN record_event(@event::jsonb, u.id);

-- name: UserByID :one
SELECT *
FROM accounts
WHERE id = @id;

-- name: UserByKey :one
SELECT *
FROM accounts
WHERE username_key = @username_key;

-- CredentialsByKey is the only query that reads the hash of a password. It always has one row. If
-- nobody has the name, the row is a stand-in: its rights are looked for as well, and it takes as
-- many bytes. So the time of a refusal does not tell which accounts exist.
-- name: CredentialsByKey :one
SELECT sqlc.embed(accounts), (u.id IS NOT NULL)::boolean AS found,
       coalesce(u.password_hash, repeat('.', 77))::text AS password_hash,
       coalesce(u.password_expires_at <= now(), false)::boolean AS password_expired
FROM (SELECT @username_key::text AS key) k
LEFT JOIN users u ON u.username_key = k.key
CROSS JOIN LATERAL account_or_stand_in(
    u, coalesce(u.id, '00000000-0000-0000-0000-000000000000'), k.key
) AS accounts;

-- UsernameOfLogin gives the key of the username of the account that a login is for, by the two keys
-- of what was typed: as a username, which counts first, and as an address. If no account has
-- either, it is the address. It always has one row, and looks for a user in any case. So the time
-- of a refusal does not tell which addresses are known.
--
-- The other key is that of the newest account that has the address and must verify it yet. If there
-- is none, it is that of nobody. The OFFSET has it found by the address: the index of those who
-- must verify one yet is short on most days, but not after a flood of registrations.
-- name: UsernameOfLogin :one
SELECT coalesce(u.username_key, k.address)::text AS username_key,
       coalesce(n.username_key, '00000000-0000-0000-0000-000000000000')::text AS unproved_key
FROM (
    SELECT @address::text AS address,
           coalesce(
               (SELECT l.user_id FROM login_keys l WHERE l.key = @username_key::text),
               (SELECT l.user_id FROM login_keys l WHERE l.key = @address::text),
               '00000000-0000-0000-0000-000000000000'
           )::uuid AS id
) k
LEFT JOIN users u ON u.id = k.id
LEFT JOIN LATERAL (
    SELECT x.username_key
    FROM (
        SELECT a.id, a.username_key, a.verify_until, a.disabled_at, a.created_at
        FROM users a
        WHERE a.email_key = k.address
        OFFSET 0
    ) x
    WHERE x.verify_until IS NOT NULL
      AND x.disabled_at IS NULL
    ORDER BY x.created_at DESC, x.id DESC
    LIMIT 1
) n ON true;

-- DisableUser changes nothing if the user is disabled already: the first time and the version stay.
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
    RETURNING users.id
)
SELECT accounts.*
FROM u
CROSS JOIN LATERAL account_of(u.id) AS accounts
CROSS JOIN record_event(@event::jsonb, u.id)
CROSS JOIN LATERAL end_sessions(u.id, '00000000-0000-0000-0000-000000000000', 'disabled');

-- name: EnableUser :one
WITH u AS (
    UPDATE users
    SET disabled_at = NULL,
        updated_at  = CASE WHEN disabled_at IS NULL THEN updated_at ELSE now() END
    WHERE users.username_key = @username_key
      AND (sqlc.narg('unless_changed')::timestamptz IS NULL OR users.updated_at = sqlc.narg('unless_changed')::timestamptz)
    RETURNING users.id
)
SELECT accounts.*
FROM u
CROSS JOIN LATERAL account_of(u.id) AS accounts
CROSS JOIN record_event(@event::jsonb, u.id);

-- name: SetPassword :one
WITH u AS (
    UPDATE users
    SET password_hash        = @password_hash,
        password_removed_at  = NULL,
        must_change_password = @must_change,
        password_expires_at  = now() + make_interval(secs => sqlc.narg('good_for_seconds')),
        token_version        = token_version + 1,
        updated_at           = now()
    WHERE users.username_key = @username_key
    RETURNING users.id
)
SELECT accounts.*
FROM u
CROSS JOIN LATERAL account_of(u.id) AS accounts
CROSS JOIN record_event(@event::jsonb, u.id)
CROSS JOIN LATERAL end_sessions(u.id, '00000000-0000-0000-0000-000000000000', 'password');

-- ReplacePassword is SetPassword by somebody who has shown the old password. It finds no user who
-- has changed since that was read. So of many who show it at once, one replaces it.
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
    RETURNING users.id
)
SELECT accounts.*
FROM u
CROSS JOIN LATERAL account_of(u.id) AS accounts
CROSS JOIN record_event(@event::jsonb, u.id)
CROSS JOIN LATERAL end_sessions(u.id, '00000000-0000-0000-0000-000000000000', 'password');

-- RequirePasswordChange does not change when an initial secret expires.
-- name: RequirePasswordChange :one
WITH u AS (
    UPDATE users
    SET must_change_password = true,
        token_version        = token_version + 1,
        updated_at           = now()
    WHERE users.username_key = @username_key
      AND (sqlc.narg('unless_changed')::timestamptz IS NULL OR users.updated_at = sqlc.narg('unless_changed')::timestamptz)
    RETURNING users.id
)
SELECT accounts.*
FROM u
CROSS JOIN LATERAL account_of(u.id) AS accounts
CROSS JOIN record_event(@event::jsonb, u.id)
CROSS JOIN LATERAL end_sessions(u.id, '00000000-0000-0000-0000-000000000000', 'password');

-- RehashPassword is a compare-and-set: it does nothing if the hash is not the one that was
-- verified.
-- name: RehashPassword :exec
UPDATE users
SET password_hash = @new_hash,
    updated_at    = now()
WHERE id = @id
  AND password_hash = @old_hash;

-- UsernamesWithoutSkeleton locks its rows, so that replicas that do this at once share the work.
-- name: UsernamesWithoutSkeleton :many
SELECT s.user_id, u.username_key
FROM username_skeletons s
JOIN users u ON u.id = s.user_id
WHERE s.skeleton IS NULL
ORDER BY s.user_id
LIMIT @most
FOR UPDATE OF s SKIP LOCKED;

-- name: SetSkeleton :exec
UPDATE username_skeletons
SET skeleton = sha256(convert_to(@skeleton::text, 'UTF8'))
WHERE user_id = @user_id;
