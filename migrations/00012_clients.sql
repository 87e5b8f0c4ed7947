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
    -- In place of a user's id, in tokens that the client gets for itself, and so in what is revoked. It follows from client_id.
    subject           uuid        NOT NULL,
    token_version     bigint      NOT NULL DEFAULT 1, -- tokens of the client's own that carry an older one are revoked
    scope             text,       -- the most that its tokens may permit; NULL: all that their users may
    created_at        timestamptz NOT NULL DEFAULT now(),
    disabled_at       timestamptz,
    CONSTRAINT clients_pkey PRIMARY KEY (client_id),
    -- What is the same form-urlencoded or not, since not every program encodes it (RFC 6749 §2.3.1).
    CONSTRAINT clients_client_id_form CHECK (client_id ~ '^[A-Za-z0-9._-]{1,64}$'),
    CONSTRAINT clients_client_id_not_built_in CHECK (lower(client_id) <> 'gatehouse'),
    -- The sub of a token is a user's id, and must never be taken for a client's (RFC 9068 §5).
    CONSTRAINT clients_client_id_no_user CHECK (client_id !~* '^[0-9a-f]{8}-?([0-9a-f]{4}-?){3}[0-9a-f]{12}$'),
    CONSTRAINT clients_name_length CHECK (char_length(name) BETWEEN 1 AND 128),
    CONSTRAINT clients_secret_digest_length CHECK (octet_length(secret_digest) = 32),
    CONSTRAINT clients_old_secret_digest_length CHECK (octet_length(old_secret_digest) = 32),
    CONSTRAINT clients_old_secret_has_new CHECK (old_secret_digest IS NULL OR secret_digest IS NOT NULL),
    CONSTRAINT clients_subject_unique UNIQUE (subject),
    CONSTRAINT clients_token_version_positive CHECK (token_version > 0),
    CONSTRAINT clients_grant_types_known CHECK (grant_types <@ ARRAY['password', 'refresh_token', 'client_credentials']),
    -- RFC 6749 §4.4: whoever says the id of a public client would have its rights.
    CONSTRAINT clients_credentials_need_secret CHECK (secret_digest IS NOT NULL OR NOT grant_types @> ARRAY['client_credentials']),
    CONSTRAINT clients_scope_length CHECK (octet_length(scope) BETWEEN 1 AND 2048)
);

-- Whom the session's tokens were issued to.
ALTER TABLE sessions ADD COLUMN client_id text CONSTRAINT sessions_client_id_fkey REFERENCES clients (client_id);
CREATE INDEX sessions_live_by_client_idx ON sessions (client_id) WHERE ended_at IS NULL AND client_id IS NOT NULL;

CREATE TABLE client_roles (
    client_id  text        NOT NULL,
    role_name  text        NOT NULL,
    granted_at timestamptz NOT NULL DEFAULT now(),
    CONSTRAINT client_roles_pkey PRIMARY KEY (client_id, role_name),
    CONSTRAINT client_roles_client_id_fkey FOREIGN KEY (client_id) REFERENCES clients (client_id),
    CONSTRAINT client_roles_role_name_fkey FOREIGN KEY (role_name) REFERENCES roles (name) ON DELETE CASCADE
);
CREATE INDEX client_roles_role_name_idx ON client_roles (role_name, client_id);

CREATE VIEW client_rights AS
SELECT c.client_id,
       ARRAY(
           SELECT cr.role_name
           FROM client_roles cr
           WHERE cr.client_id = c.client_id
           ORDER BY cr.role_name COLLATE "C"
       ) AS roles,
       ARRAY(
           SELECT DISTINCT rp.permission COLLATE "C"
           FROM client_roles cr
           JOIN role_permissions rp ON rp.role_name = cr.role_name
           WHERE cr.client_id = c.client_id
           ORDER BY 1
       ) AS permissions
FROM clients c;

-- What changes a client's rights bars its tokens, and says so to the replicas. All of it in the schema: the version of the
-- service before this one changes roles too, and knows of no clients.
-- +goose StatementBegin
CREATE FUNCTION outdate_client() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    UPDATE clients SET token_version = token_version + 1 WHERE client_id = coalesce(NEW.client_id, OLD.client_id);
    RETURN NULL;
END
$$;
CREATE FUNCTION outdate_clients_of_role() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    UPDATE clients SET token_version = token_version + 1
    WHERE client_id IN (SELECT cr.client_id FROM client_roles cr WHERE cr.role_name = NEW.name);
    RETURN NULL;
END
$$;
CREATE FUNCTION revoke_client() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO revocations (user_id, version) VALUES (NEW.subject, NEW.token_version);
    RETURN NULL;
END
$$;

-- The bound of user_rights_size, for clients, of whom there are few.
CREATE FUNCTION bound_client_rights() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    PERFORM FROM client_rights r
    WHERE octet_length(array_to_string(r.roles, '","')) + octet_length(array_to_string(r.permissions, ' ')) > 2048;
    IF FOUND THEN
        RAISE EXCEPTION 'the rights of a client would not fit into a token' USING ERRCODE = 'check_violation', CONSTRAINT = 'client_rights_size';
    END IF;
    RETURN NULL;
END
$$;
-- +goose StatementEnd
CREATE TRIGGER client_roles_outdate AFTER INSERT OR DELETE ON client_roles
    FOR EACH ROW EXECUTE FUNCTION outdate_client();
CREATE TRIGGER roles_outdate_clients AFTER UPDATE OF version ON roles
    FOR EACH ROW EXECUTE FUNCTION outdate_clients_of_role();
CREATE TRIGGER clients_revoke_older_versions AFTER UPDATE OF token_version ON clients
    FOR EACH ROW WHEN (NEW.token_version > OLD.token_version) EXECUTE FUNCTION revoke_client();
CREATE TRIGGER client_roles_size AFTER INSERT ON client_roles
    FOR EACH STATEMENT EXECUTE FUNCTION bound_client_rights();
CREATE TRIGGER role_permissions_client_size AFTER INSERT ON role_permissions
    FOR EACH STATEMENT EXECUTE FUNCTION bound_client_rights();

-- A client may act for itself.
ALTER TABLE audit_events DROP CONSTRAINT audit_events_actor_known;
ALTER TABLE audit_events ADD CONSTRAINT audit_events_actor_known CHECK (actor IN ('anonymous', 'user', 'client', 'operator', 'service')) NOT VALID;
ALTER TABLE audit_events DROP CONSTRAINT audit_events_user_has_id;
ALTER TABLE audit_events ADD CONSTRAINT audit_events_user_has_id CHECK ((actor IN ('user', 'client')) = (actor_id IS NOT NULL)) NOT VALID;

-- +goose Down
UPDATE audit_events SET actor = 'anonymous', actor_id = NULL WHERE actor = 'client';
ALTER TABLE audit_events DROP CONSTRAINT audit_events_actor_known;
ALTER TABLE audit_events ADD CONSTRAINT audit_events_actor_known CHECK (actor IN ('anonymous', 'user', 'operator', 'service')) NOT VALID;
ALTER TABLE audit_events DROP CONSTRAINT audit_events_user_has_id;
ALTER TABLE audit_events ADD CONSTRAINT audit_events_user_has_id CHECK ((actor = 'user') = (actor_id IS NOT NULL));
DROP TRIGGER role_permissions_client_size ON role_permissions;
DROP TRIGGER roles_outdate_clients ON roles;
DROP VIEW client_rights;
DROP TABLE client_roles;
ALTER TABLE sessions DROP COLUMN client_id;
DROP TABLE clients;
DROP FUNCTION bound_client_rights;
DROP FUNCTION outdate_clients_of_role;
DROP FUNCTION outdate_client;
DROP FUNCTION revoke_client;
