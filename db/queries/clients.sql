-- name: InsertClient :one
WITH c AS (
    INSERT INTO clients (client_id, subject, name, secret_digest, grant_types, scope)
    VALUES (@client_id, @subject, @name, sqlc.narg('secret_digest'), @grant_types, sqlc.narg('scope'))
    RETURNING created_at
)
SELECT c.created_at, record_event(@event::jsonb, NULL) AS event
FROM c;

-- name: ClientByID :one
SELECT c.client_id, c.subject, c.name, c.secret_digest, c.old_secret_digest, c.grant_types, c.scope, c.token_version, c.created_at,
       c.disabled_at, r.roles::text[] AS roles, r.permissions::text[] AS permissions
FROM clients c
JOIN client_rights r ON r.client_id = c.client_id
WHERE c.client_id = @client_id;

-- name: ListClients :many
SELECT c.client_id, c.subject, c.name, c.secret_digest, c.old_secret_digest, c.grant_types, c.scope, c.token_version, c.created_at,
       c.disabled_at, r.roles::text[] AS roles, r.permissions::text[] AS permissions
FROM clients c
JOIN client_rights r ON r.client_id = c.client_id
ORDER BY c.client_id COLLATE "C";

-- LockClient waits for logins by the client that are under way: DisableClient, a statement of its own behind it, sees the
-- sessions that they have started.
-- name: LockClient :one
SELECT client_id
FROM clients
WHERE client_id = @client_id
FOR NO KEY UPDATE;

-- name: DisableClient :exec
WITH c AS (
    UPDATE clients
    SET disabled_at = now(), token_version = token_version + 1
    WHERE clients.client_id = @client_id::text
      AND clients.disabled_at IS NULL
), ended AS (
    UPDATE sessions
    SET ended_at = now(), end_reason = 'operator'
    WHERE sessions.client_id = @client_id::text
      AND sessions.ended_at IS NULL
)
SELECT record_event(@event::jsonb, NULL);

-- name: EnableClient :execrows
WITH c AS (
    UPDATE clients
    SET disabled_at = NULL
    WHERE client_id = @client_id
    RETURNING client_id
)
SELECT record_event(@event::jsonb, NULL)
FROM c;

-- RotateClientSecret keeps the secret before this one, and none that is older.
-- name: RotateClientSecret :execrows
WITH c AS (
    UPDATE clients
    SET old_secret_digest = secret_digest, secret_digest = @secret_digest
    WHERE client_id = @client_id
      AND secret_digest IS NOT NULL
    RETURNING client_id
)
SELECT record_event(@event::jsonb, NULL)
FROM c;

-- name: RetireClientSecret :execrows
WITH c AS (
    UPDATE clients
    SET old_secret_digest = NULL
    WHERE client_id = @client_id
      AND secret_digest IS NOT NULL
    RETURNING client_id
)
SELECT record_event(@event::jsonb, NULL)
FROM c;

-- GrantClientRole changes nothing of a client that has the role; else the schema raises its token version.
-- name: GrantClientRole :exec
WITH granted AS (
    INSERT INTO client_roles (client_id, role_name)
    VALUES (@client_id, @role_name)
    ON CONFLICT ON CONSTRAINT client_roles_pkey DO NOTHING
)
SELECT record_event(@event::jsonb, NULL);

-- name: RevokeClientRole :exec
WITH taken AS (
    DELETE FROM client_roles
    WHERE client_roles.client_id = @client_id
      AND client_roles.role_name = @role_name
)
SELECT record_event(@event::jsonb, NULL);
