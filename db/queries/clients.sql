-- name: InsertClient :one
WITH c AS (
    INSERT INTO clients (client_id, name, secret_digest, grant_types, scope)
    VALUES (@client_id, @name, sqlc.narg('secret_digest'), @grant_types, sqlc.narg('scope'))
    RETURNING created_at
)
SELECT c.created_at, record_event(@event::jsonb, NULL) AS event
FROM c;

-- name: ClientByID :one
SELECT client_id, name, secret_digest, old_secret_digest, grant_types, scope, created_at, disabled_at
FROM clients
WHERE client_id = @client_id;

-- name: ListClients :many
SELECT client_id, name, secret_digest, old_secret_digest, grant_types, scope, created_at, disabled_at
FROM clients
ORDER BY client_id COLLATE "C";

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
    SET disabled_at = now()
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
