-- InsertClient inserts nothing if there are as many clients as there may be.
-- name: InsertClient :one
WITH c AS (
    INSERT INTO clients (client_id, subject, name, secret_digest, grant_types, scope, first_party,
        redirect_uris, post_logout_redirect_uris, backchannel_logout_uri, without_pkce, asks,
        required_role, audiences, id_token_algorithm)
    SELECT @client_id::text, @subject, @name, sqlc.narg('secret_digest')::bytea,
           @grant_types::text[], sqlc.narg('scope')::text, @first_party::boolean,
           @redirect_uris::text[], @post_logout_redirect_uris::text[],
           sqlc.narg('backchannel_logout_uri')::text, @without_pkce::boolean, @asks::boolean,
           sqlc.narg('required_role')::text, @audiences::text[], @id_token_algorithm::text
    WHERE (SELECT count(*) FROM clients) < @most::int
       OR EXISTS (SELECT FROM clients WHERE clients.client_id = @client_id::text)
    RETURNING created_at
)
SELECT c.created_at, record_event(@event::jsonb, NULL) AS event
FROM c;

-- name: ClientByID :one
SELECT sqlc.embed(c), r.roles::text[] AS roles, r.permissions::text[] AS permissions
FROM clients c
JOIN client_rights r ON r.client_id = c.client_id
WHERE c.client_id = @client_id;

-- name: ListClients :many
SELECT sqlc.embed(c), r.roles::text[] AS roles, r.permissions::text[] AS permissions
FROM clients c
JOIN client_rights r ON r.client_id = c.client_id
WHERE c.client_id COLLATE "C" > @after::text
ORDER BY c.client_id COLLATE "C"
LIMIT @max_rows;

-- SetClient raises the token version if the client may have less in tokens of its own, or if it has
-- to ask its users anew. Then it also ends its sessions, and voids its codes.
-- name: SetClient :exec
WITH c AS (
    UPDATE clients
    SET name = @name, grant_types = @grant_types, scope = sqlc.narg('scope'),
        first_party = @first_party, redirect_uris = @redirect_uris,
        post_logout_redirect_uris = @post_logout_redirect_uris,
        backchannel_logout_uri = sqlc.narg('backchannel_logout_uri'),
        without_pkce = @without_pkce, asks = @asks, required_role = sqlc.narg('required_role'),
        audiences = @audiences, id_token_algorithm = @id_token_algorithm,
        token_version = token_version + (scope IS DISTINCT FROM sqlc.narg('scope')
            OR grant_types <> @grant_types OR @asks_anew::boolean)::int
    WHERE clients.client_id = @client_id
), ended AS (
    UPDATE sessions
    SET ended_at = now(), end_reason = 'operator'
    WHERE @asks_anew::boolean
      AND sessions.client_id = @client_id
      AND sessions.ended_at IS NULL
), voided AS (
    DELETE FROM authorization_codes
    WHERE @asks_anew::boolean
      AND authorization_codes.client_id = @client_id
      AND authorization_codes.redeemed_at IS NULL
)
SELECT record_event(@event::jsonb, NULL);

-- LockClient waits for logins by the client that are under way. DisableClient is a statement of its
-- own behind it, and sees the sessions that they have started.
-- name: LockClient :one
SELECT client_id
FROM clients
WHERE client_id = @client_id
FOR NO KEY UPDATE;

-- LiftTimeout is for the rest of a transaction. It may end a hundred thousand sessions, and tell an
-- app of each.
-- name: LiftTimeout :exec
SELECT set_config('statement_timeout', '0', true);

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

-- RotateClientSecret keeps the secret before the new one, and no older one.
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

-- GrantClientRole changes nothing if the client has the role. Otherwise the schema raises the token
-- version of the client.
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
