-- name: RoleByName :one
SELECT r.name, r.version, r.created_at, r.updated_at,
       ARRAY(SELECT p.permission FROM role_permissions p WHERE p.role_name = r.name ORDER BY p.permission COLLATE "C")::text[] AS permissions
FROM roles r
WHERE r.name = @name;

-- name: ListRoles :many
SELECT r.name, r.version, r.created_at, r.updated_at,
       ARRAY(SELECT p.permission FROM role_permissions p WHERE p.role_name = r.name ORDER BY p.permission COLLATE "C")::text[] AS permissions
FROM roles r
ORDER BY r.name COLLATE "C";

-- name: InsertRole :execrows
INSERT INTO roles (name)
VALUES (@name)
ON CONFLICT ON CONSTRAINT roles_pkey DO NOTHING;

-- LockRole keeps others from changing or granting the role, until the transaction ends.
-- name: LockRole :one
SELECT version
FROM roles
WHERE name = @name
FOR UPDATE;

-- SetRolePermissions changes nothing of a role that has these permissions already. It revokes the access tokens of
-- whoever has the role: their scope is that of before. Those of clients the schema revokes.
-- name: SetRolePermissions :exec
WITH removed AS (
    DELETE FROM role_permissions
    WHERE role_permissions.role_name = @name
      AND role_permissions.permission <> ALL (@permissions::text[])
    RETURNING permission
), added AS (
    INSERT INTO role_permissions (role_name, permission)
    SELECT @name, p
    FROM unnest(@permissions::text[]) p
    ON CONFLICT ON CONSTRAINT role_permissions_pkey DO NOTHING
    RETURNING permission
), changed AS (
    UPDATE roles
    SET version = version + 1, updated_at = now()
    WHERE roles.name = @name
      AND EXISTS (SELECT FROM removed UNION ALL SELECT FROM added)
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

-- DeleteRole takes the role from whoever has it.
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

-- GrantRole changes nothing of a user who has the role. The session and its refresh token go on.
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

-- RevokeRole locks the user first, as everything does that may wait for another admin's change next.
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

-- TakeTurn waits until nobody else is changing what users may do, and holds others up until the transaction ends.
-- name: TakeTurn :exec
SELECT pg_advisory_xact_lock(@lock_id);

-- IsUnchanged must be a statement of its own behind TakeTurn, to see what those before have left.
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

-- FindUsers reads a page, in the order of the names' bytes. It and the two after it each have an index in that order, so that
-- a page costs what it shows.
-- name: FindUsers :many
SELECT u.id, u.username, u.username_key, u.disabled_at, u.token_version, u.created_at, u.updated_at, u.must_change_password,
       u.password_expires_at, r.roles::text[] AS roles, r.permissions::text[] AS permissions
FROM users u
JOIN user_rights r ON r.user_id = u.id
WHERE u.username_key COLLATE "C" > @after::text
  AND u.username_key COLLATE "C" >= @prefix::text
  AND u.username_key COLLATE "C" < @before::text
ORDER BY u.username_key COLLATE "C"
LIMIT @max_rows;

-- FindUsersByState is FindUsers of the disabled (1) or the enabled (0), or of those among them who have a role. The SELECT in
-- the condition is no join, so that the plan is the same for every role: along the names of, as a rule, the few disabled.
-- name: FindUsersByState :many
SELECT u.id, u.username, u.username_key, u.disabled_at, u.token_version, u.created_at, u.updated_at, u.must_change_password,
       u.password_expires_at, r.roles::text[] AS roles, r.permissions::text[] AS permissions
FROM users u
JOIN user_rights r ON r.user_id = u.id
WHERE (u.disabled_at IS NOT NULL)::int = @disabled::int
  AND (@role::text = '' OR (SELECT true FROM user_roles ur WHERE ur.user_id = u.id AND ur.role_name = @role::text))
  AND u.username_key COLLATE "C" > @after::text
  AND u.username_key COLLATE "C" >= @prefix::text
  AND u.username_key COLLATE "C" < @before::text
ORDER BY u.username_key COLLATE "C"
LIMIT @max_rows;

-- FindUsersByRole is FindUsers of those who have a role, or of the enabled among them.
-- name: FindUsersByRole :many
SELECT u.id, u.username, u.username_key, u.disabled_at, u.token_version, u.created_at, u.updated_at, u.must_change_password,
       u.password_expires_at, r.roles::text[] AS roles, r.permissions::text[] AS permissions
FROM user_roles ur
JOIN users u ON u.id = ur.user_id
JOIN user_rights r ON r.user_id = u.id
WHERE ur.role_name = @role
  AND ur.username_key > @after::text
  AND ur.username_key >= @prefix::text
  AND ur.username_key < @before::text
  AND (NOT @enabled::boolean OR u.disabled_at IS NULL)
ORDER BY ur.username_key
LIMIT @max_rows;

-- DeleteUser leaves nothing of a user but the id in revocations, and that the name was in use.
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
