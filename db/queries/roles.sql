-- name: RoleByName :one
SELECT sqlc.embed(r),
       ARRAY(SELECT p.permission FROM role_permissions p WHERE p.role_name = r.name ORDER BY p.permission COLLATE "C")::text[] AS permissions
FROM roles r
WHERE r.name = @name;

-- name: ListRoles :many
SELECT sqlc.embed(r),
       ARRAY(SELECT p.permission FROM role_permissions p WHERE p.role_name = r.name ORDER BY p.permission COLLATE "C")::text[] AS permissions
FROM roles r
ORDER BY r.name COLLATE "C";

-- name: InsertRole :execrows
INSERT INTO roles (name)
VALUES (@name)
ON CONFLICT ON CONSTRAINT roles_pkey DO NOTHING;

-- LockRole keeps others from changing or granting the role until the transaction ends.
-- name: LockRole :one
SELECT version
FROM roles
WHERE name = @name
FOR UPDATE;

-- SetRole changes nothing if the role is as it should be. What is null stays as it is. It revokes
-- the access tokens of all users who have the role, since their scope is that of before, or their
-- logins left out the factor. The schema revokes those of clients.
-- name: SetRole :exec
WITH removed AS (
    DELETE FROM role_permissions
    WHERE role_permissions.role_name = @name
      AND role_permissions.permission <> ALL (sqlc.narg('permissions')::text[])
    RETURNING permission
), added AS (
    INSERT INTO role_permissions (role_name, permission)
    SELECT @name, p
    FROM unnest(sqlc.narg('permissions')::text[]) p
    WHERE NOT EXISTS (SELECT FROM role_permissions has WHERE has.role_name = @name AND has.permission = p)
    RETURNING permission
), changed AS (
    UPDATE roles
    SET version    = version + 1,
        factor     = coalesce(sqlc.narg('factor')::boolean, factor),
        updated_at = now()
    WHERE roles.name = @name
      AND (roles.factor <> sqlc.narg('factor')::boolean OR EXISTS (SELECT FROM removed UNION ALL SELECT FROM added))
    RETURNING roles.name
), holders AS (
    SELECT users.id
    FROM users
    WHERE users.id IN (SELECT ur.user_id FROM user_roles ur JOIN changed c ON c.name = ur.role_name)
    ORDER BY users.id
    FOR NO KEY UPDATE
), u AS (
    UPDATE users
    SET token_version = token_version + 1, updated_at = now()
    WHERE users.id IN (SELECT holders.id FROM holders)
)
SELECT record_event(@event::jsonb, NULL);

-- DeleteRole takes the role from all who have it.
-- name: DeleteRole :exec
WITH holders AS (
    SELECT users.id
    FROM users
    WHERE users.id IN (SELECT ur.user_id FROM user_roles ur WHERE ur.role_name = @name)
    ORDER BY users.id
    FOR NO KEY UPDATE
), taken AS (
    DELETE FROM user_roles
    WHERE user_roles.role_name = @name
), u AS (
    UPDATE users
    SET token_version = token_version + 1, updated_at = now()
    WHERE users.id IN (SELECT holders.id FROM holders)
), deleted AS (
    DELETE FROM roles
    WHERE roles.name = @name
)
SELECT record_event(@event::jsonb, NULL);

-- GrantRole changes nothing if the user has the role. Sessions and their refresh tokens go on.
-- name: GrantRole :exec
WITH holder AS (
    SELECT users.id
    FROM users
    WHERE users.id = @user_id
    FOR NO KEY UPDATE
), granted AS (
    INSERT INTO user_roles (user_id, role_name)
    SELECT holder.id, @role_name
    FROM holder
    ON CONFLICT ON CONSTRAINT user_roles_pkey DO NOTHING
    RETURNING user_roles.user_id
), u AS (
    UPDATE users
    SET token_version = token_version + 1, updated_at = now()
    FROM granted
    WHERE users.id = granted.user_id
)
SELECT record_event(@event::jsonb, @user_id);

-- RevokeRole locks the user first. So does each statement that may then wait for another
-- administrator's change.
-- name: RevokeRole :exec
WITH holder AS (
    SELECT users.id
    FROM users
    WHERE users.id = @user_id
    FOR NO KEY UPDATE
), taken AS (
    DELETE FROM user_roles
    USING holder
    WHERE user_roles.user_id = holder.id
      AND user_roles.role_name = @role_name
    RETURNING user_roles.user_id
), u AS (
    UPDATE users
    SET token_version = token_version + 1, updated_at = now()
    FROM taken
    WHERE users.id = taken.user_id
)
SELECT record_event(@event::jsonb, @user_id);

-- TakeTurn waits until nobody else changes what users may do. It makes others wait until the
-- transaction ends.
-- name: TakeTurn :exec
SELECT pg_advisory_xact_lock(@lock_id);

-- IsUnchanged must be a statement of its own behind TakeTurn, to see what earlier turns have left.
-- name: IsUnchanged :one
SELECT EXISTS (
    SELECT FROM users
    WHERE users.id = @id
      AND users.token_version = @token_version
      AND users.disabled_at IS NULL
    UNION ALL
    SELECT FROM clients
    WHERE clients.subject = @id
      AND clients.token_version = @token_version
      AND clients.disabled_at IS NULL
);

-- ShareRole keeps the role as it is until the transaction ends.
-- name: ShareRole :one
SELECT name
FROM roles
WHERE name = @name
FOR SHARE;

-- FindUsers reads a page, in the order of the names' bytes. It and the two queries after it each
-- have an index in that order, so that a page costs what it shows.
-- name: FindUsers :many
SELECT a.*
FROM accounts a
WHERE a.username_key COLLATE "C" > @after::text
  AND a.username_key COLLATE "C" >= @prefix::text
  AND a.username_key COLLATE "C" < @before::text
ORDER BY a.username_key COLLATE "C"
LIMIT @max_rows;

-- FindUsersByState finds the disabled users (1) or the enabled ones (0), or those of them who have
-- a role. The condition is a SELECT and no join, so that the plan is the same for every role: along
-- the names of the disabled, who are few as a rule.
-- name: FindUsersByState :many
SELECT a.*
FROM accounts a
WHERE (a.disabled_at IS NOT NULL)::int = @disabled::int
  AND (@role::text = '' OR (SELECT true FROM user_roles ur WHERE ur.user_id = a.id AND ur.role_name = @role::text))
  AND a.username_key COLLATE "C" > @after::text
  AND a.username_key COLLATE "C" >= @prefix::text
  AND a.username_key COLLATE "C" < @before::text
ORDER BY a.username_key COLLATE "C"
LIMIT @max_rows;

-- FindUsersByEmail finds the users with an address, who are few: one has verified it, and others
-- may say that it is theirs.
-- name: FindUsersByEmail :many
SELECT a.*
FROM accounts a
WHERE a.email_key = @email_key::text
  AND (sqlc.narg('disabled')::boolean IS NULL OR (a.disabled_at IS NOT NULL) = sqlc.narg('disabled')::boolean)
  AND (@role::text = '' OR EXISTS (SELECT FROM user_roles ur WHERE ur.user_id = a.id AND ur.role_name = @role::text))
  AND a.username_key COLLATE "C" > @after::text
  AND a.username_key COLLATE "C" >= @prefix::text
  AND a.username_key COLLATE "C" < @before::text
ORDER BY a.username_key COLLATE "C"
LIMIT @max_rows;

-- FindUsersByRole finds the users who have a role, or the enabled ones of them.
-- name: FindUsersByRole :many
SELECT a.*
FROM user_roles ur
JOIN accounts a ON a.id = ur.user_id
WHERE ur.role_name = @role
  AND ur.username_key > @after::text
  AND ur.username_key >= @prefix::text
  AND ur.username_key < @before::text
  AND (NOT @enabled::boolean OR a.disabled_at IS NULL)
ORDER BY ur.username_key
LIMIT @max_rows;

-- DeleteUser leaves the id in revocations, and a digest of the name. All else of the user goes.
-- name: DeleteUser :execrows
WITH holder AS (
    SELECT users.id
    FROM users
    WHERE users.id = @id
    FOR UPDATE
), gone AS (
    DELETE FROM users
    USING holder
    WHERE users.id = holder.id
    RETURNING users.id
)
SELECT record_event(@event::jsonb, gone.id)
FROM gone;
