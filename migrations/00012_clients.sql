-- +goose Up
-- Programs that get tokens for users, or ask about tokens (RFC 6749 §1.1). Those that do not name themselves are the
-- first-party client, gatehouse, which is none of these: it has no row, and elsewhere NULL stands for it.
CREATE TABLE clients (
    client_id         text        NOT NULL,
    name              text        NOT NULL,
    -- SHA-256 is slow enough for a secret of 256 random bits. Of two the older one is on its way out. None: a public client.
    secret_digest     bytea,
    old_secret_digest bytea,
    grant_types       text[]      NOT NULL,
    scope             text,       -- the most that its tokens may permit; NULL: all that their users may
    created_at        timestamptz NOT NULL DEFAULT now(),
    disabled_at       timestamptz,
    CONSTRAINT clients_pkey PRIMARY KEY (client_id),
    -- What is the same form-urlencoded or not, since not every program encodes it (RFC 6749 §2.3.1).
    CONSTRAINT clients_client_id_form CHECK (client_id ~ '^[A-Za-z0-9._-]{1,64}$'),
    CONSTRAINT clients_client_id_not_built_in CHECK (lower(client_id) <> 'gatehouse'),
    -- The sub of a token is a user's id, and must never be taken for a client's (RFC 9068 §5).
    CONSTRAINT clients_client_id_no_user CHECK (client_id !~* '^[0-9a-f]{8}-([0-9a-f]{4}-){3}[0-9a-f]{12}$'),
    CONSTRAINT clients_name_length CHECK (char_length(name) BETWEEN 1 AND 128),
    CONSTRAINT clients_secret_digest_length CHECK (octet_length(secret_digest) = 32),
    CONSTRAINT clients_old_secret_digest_length CHECK (octet_length(old_secret_digest) = 32),
    CONSTRAINT clients_old_secret_has_new CHECK (old_secret_digest IS NULL OR secret_digest IS NOT NULL),
    CONSTRAINT clients_grant_types_known CHECK (grant_types <@ ARRAY['password', 'refresh_token']),
    CONSTRAINT clients_scope_length CHECK (octet_length(scope) BETWEEN 1 AND 2048)
);

-- Whom the session's tokens were issued to.
ALTER TABLE sessions ADD COLUMN client_id text CONSTRAINT sessions_client_id_fkey REFERENCES clients (client_id);
CREATE INDEX sessions_live_by_client_idx ON sessions (client_id) WHERE ended_at IS NULL AND client_id IS NOT NULL;

-- +goose Down
ALTER TABLE sessions DROP COLUMN client_id;
DROP TABLE clients;
