-- +goose Up
-- The words of OpenID Connect are no permissions: a scope that names them narrows nothing. A role
-- that has one keeps it until somebody changes the role.
ALTER TABLE role_permissions ADD CONSTRAINT role_permissions_not_reserved
    CHECK (permission <> ALL (ARRAY['openid', 'profile', 'email', 'address', 'phone', 'offline_access', 'groups'])) NOT VALID;

-- is_uri_list bounds a list of URIs. The service knows what is wrong with one, and this keeps the
-- list short and printable.
-- +goose StatementBegin
CREATE FUNCTION is_uri_list(uris text[]) RETURNS boolean LANGUAGE sql IMMUTABLE PARALLEL SAFE
BEGIN ATOMIC
    SELECT cardinality(uris) <= 20
       AND NOT EXISTS (
           SELECT
           FROM unnest(uris) u
           WHERE u IS NULL
              OR octet_length(u) > 512
              OR u !~ '^[!-~]+$'
       );
END;
-- +goose StatementEnd

-- The role of required_role is referenced, so it is locked first.
LOCK TABLE roles IN SHARE ROW EXCLUSIVE MODE;
ALTER TABLE clients
    -- Where the authorization endpoint sends a browser back to (RFC 6749 §3.1.2), and where the
    -- end of a session does.
    ADD COLUMN redirect_uris             text[]  NOT NULL DEFAULT '{}',
    ADD COLUMN post_logout_redirect_uris text[]  NOT NULL DEFAULT '{}',
    -- What is told that a session has ended. NULL: nobody.
    ADD COLUMN backchannel_logout_uri    text,
    ADD COLUMN without_pkce              boolean NOT NULL DEFAULT false,
    ADD COLUMN asks                      boolean NOT NULL DEFAULT false,
    -- Only holders of this role get tokens. NULL: all users do.
    ADD COLUMN required_role             text,
    -- The resources that its tokens may be for (RFC 8707).
    ADD COLUMN audiences                 text[]  NOT NULL DEFAULT '{}',
    ADD COLUMN id_token_algorithm        text    NOT NULL DEFAULT 'RS256';
ALTER TABLE clients DROP CONSTRAINT clients_grant_types_known;
ALTER TABLE clients
    ADD CONSTRAINT clients_grant_types_known
        CHECK (grant_types <@ ARRAY['password', 'refresh_token', 'client_credentials', 'authorization_code']) NOT VALID,
    ADD CONSTRAINT clients_redirect_uris_form CHECK (is_uri_list(redirect_uris)) NOT VALID,
    ADD CONSTRAINT clients_post_logout_redirect_uris_form CHECK (is_uri_list(post_logout_redirect_uris)) NOT VALID,
    ADD CONSTRAINT clients_backchannel_logout_uri_form CHECK (is_uri_list(ARRAY[coalesce(backchannel_logout_uri, 'none')])) NOT VALID,
    ADD CONSTRAINT clients_audiences_form CHECK (is_uri_list(audiences)) NOT VALID,
    ADD CONSTRAINT clients_code_has_redirect_uri
        CHECK ((cardinality(redirect_uris) > 0) = (grant_types @> ARRAY['authorization_code'])) NOT VALID,
    -- Whoever intercepts the code of a public client could use it (RFC 9700 §2.1.1).
    ADD CONSTRAINT clients_without_pkce_needs_secret CHECK (NOT without_pkce OR secret_digest IS NOT NULL) NOT VALID,
    ADD CONSTRAINT clients_id_token_algorithm_known CHECK (id_token_algorithm IN ('RS256', 'ES256', 'EdDSA')) NOT VALID,
    ADD CONSTRAINT clients_scope_not_reserved
        CHECK (NOT string_to_array(scope, ' ') && ARRAY['openid', 'profile', 'email', 'address', 'phone', 'offline_access', 'groups']) NOT VALID,
    -- No ON DELETE: without its role, the client would let everybody in.
    ADD CONSTRAINT clients_required_role_fkey FOREIGN KEY (required_role) REFERENCES roles (name) NOT VALID;

-- +goose Down
UPDATE clients
SET grant_types = array_remove(grant_types, 'authorization_code'), redirect_uris = '{}'
WHERE grant_types @> ARRAY['authorization_code'];
ALTER TABLE role_permissions DROP CONSTRAINT role_permissions_not_reserved;
LOCK TABLE roles IN SHARE ROW EXCLUSIVE MODE;
ALTER TABLE clients DROP CONSTRAINT clients_grant_types_known;
ALTER TABLE clients
    DROP CONSTRAINT clients_scope_not_reserved,
    DROP COLUMN redirect_uris,
    DROP COLUMN post_logout_redirect_uris,
    DROP COLUMN backchannel_logout_uri,
    DROP COLUMN without_pkce,
    DROP COLUMN asks,
    DROP COLUMN required_role,
    DROP COLUMN audiences,
    DROP COLUMN id_token_algorithm,
    ADD CONSTRAINT clients_grant_types_known
        CHECK (grant_types <@ ARRAY['password', 'refresh_token', 'client_credentials']) NOT VALID;
DROP FUNCTION is_uri_list;
