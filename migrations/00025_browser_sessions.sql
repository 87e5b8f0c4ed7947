-- +goose Up
-- What a login in a browser, and a login of an app through it, add to a session. The defaults are
-- those of a session that the version before starts.
ALTER TABLE sessions
    -- The browser keeps a cookie of it. It has no refresh token: counter numbers the cookies.
    ADD COLUMN browser boolean NOT NULL DEFAULT false,
    -- How long a browser's session lives after its last use.
    ADD COLUMN idle_seconds integer,
    -- The browser's session through which an app logged its user in. It is no foreign key: the
    -- parent may be pruned while an offline session goes on, and PostgreSQL would look through all
    -- sessions for each that is pruned.
    ADD COLUMN parent_id uuid,
    -- It goes on after its parent ends (OpenID Connect Core §11).
    ADD COLUMN offline boolean NOT NULL DEFAULT false,
    -- When and how the user proved who it is (OpenID Connect Core §2; RFC 8176). NULL: at created_at,
    -- with a password.
    ADD COLUMN auth_time timestamptz,
    ADD COLUMN amr text[],
    -- The scope values and the claims (id_token:name, userinfo:name) that an app asked for by OpenID
    -- Connect. NULL: none of them, as for the scope of an app that did not use
    -- OpenID Connect.
    ADD COLUMN openid text,
    ADD COLUMN claims text,
    ADD CONSTRAINT sessions_browser_has_idle
        CHECK (browser = (idle_seconds IS NOT NULL)) NOT VALID,
    ADD CONSTRAINT sessions_idle_seconds_positive CHECK (idle_seconds > 0) NOT VALID,
    ADD CONSTRAINT sessions_browser_is_first_party
        CHECK (NOT browser OR client_id IS NULL AND scope IS NULL AND parent_id IS NULL) NOT VALID,
    ADD CONSTRAINT sessions_only_apps_are_offline
        CHECK (NOT offline OR client_id IS NOT NULL) NOT VALID,
    ADD CONSTRAINT sessions_amr_length CHECK (cardinality(amr) BETWEEN 1 AND 8) NOT VALID,
    ADD CONSTRAINT sessions_openid_length CHECK (octet_length(openid) BETWEEN 1 AND 256) NOT VALID,
    ADD CONSTRAINT sessions_claims_length
        CHECK (octet_length(claims) BETWEEN 1 AND 512) NOT VALID;

-- Whatever ends the session of a browser ends those of the apps that were logged in through it.
-- +goose StatementBegin
CREATE FUNCTION end_child_sessions() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    UPDATE sessions
    SET ended_at = NEW.ended_at, end_reason = NEW.end_reason
    WHERE user_id = NEW.user_id -- by the index of live sessions
      AND parent_id = NEW.id
      AND ended_at IS NULL
      AND NOT offline;
    RETURN NULL;
END
$$;
-- +goose StatementEnd
CREATE TRIGGER sessions_end_children AFTER UPDATE OF ended_at ON sessions
    FOR EACH ROW WHEN (NEW.browser AND OLD.ended_at IS NULL AND NEW.ended_at IS NOT NULL)
    EXECUTE FUNCTION end_child_sessions();

-- Authorization codes (RFC 6749 §4.1.2). Of a code, its digest is stored.
CREATE TABLE authorization_codes (
    digest        bytea       NOT NULL,
    session_id    uuid        NOT NULL,
    user_id       uuid        NOT NULL,
    token_version bigint      NOT NULL,
    client_id     text        NOT NULL,
    redirect_uri  text        NOT NULL,
    challenge     text, -- S256 (RFC 7636 §4.2). NULL: the client does without
    scope         text, -- the permissions that were asked for. NULL: all
    openid        text,
    claims        text, -- as in sessions
    nonce         text,
    auth_time     timestamptz NOT NULL,
    amr           text[]      NOT NULL,
    expires_at    timestamptz NOT NULL,
    redeemed_at   timestamptz,
    started_id    uuid, -- the session that it started, for whoever redeems it again
    CONSTRAINT authorization_codes_pkey PRIMARY KEY (digest),
    CONSTRAINT authorization_codes_session_id_fkey FOREIGN KEY (session_id) REFERENCES sessions (id)
        ON DELETE CASCADE,
    CONSTRAINT authorization_codes_user_id_fkey FOREIGN KEY (user_id) REFERENCES users (id)
        ON DELETE CASCADE,
    CONSTRAINT authorization_codes_client_id_fkey FOREIGN KEY (client_id)
        REFERENCES clients (client_id) ON DELETE CASCADE,
    CONSTRAINT authorization_codes_digest_length CHECK (octet_length(digest) = 32),
    CONSTRAINT authorization_codes_redirect_uri_length
        CHECK (octet_length(redirect_uri) BETWEEN 1 AND 512),
    CONSTRAINT authorization_codes_challenge_form CHECK (challenge ~ '^[A-Za-z0-9_-]{43}$'),
    CONSTRAINT authorization_codes_scope_length CHECK (octet_length(scope) BETWEEN 1 AND 2048),
    CONSTRAINT authorization_codes_openid_length CHECK (octet_length(openid) BETWEEN 1 AND 256),
    CONSTRAINT authorization_codes_claims_length CHECK (octet_length(claims) BETWEEN 1 AND 512),
    CONSTRAINT authorization_codes_nonce_length CHECK (octet_length(nonce) BETWEEN 1 AND 1024),
    CONSTRAINT authorization_codes_amr_length CHECK (cardinality(amr) BETWEEN 1 AND 8),
    CONSTRAINT authorization_codes_redeemed_for_a_session
        CHECK ((redeemed_at IS NULL) = (started_id IS NULL))
);
CREATE INDEX authorization_codes_expires_at_idx ON authorization_codes (expires_at);
CREATE INDEX authorization_codes_session_id_idx ON authorization_codes (session_id);
CREATE INDEX authorization_codes_user_id_idx ON authorization_codes (user_id);
CREATE INDEX authorization_codes_client_id_idx ON authorization_codes (client_id);

-- What users have allowed the clients that ask (OpenID Connect Core §3.1.2.4).
CREATE TABLE consents (
    user_id    uuid        NOT NULL,
    client_id  text        NOT NULL,
    words      text[]      NOT NULL, -- of the scope
    granted_at timestamptz NOT NULL DEFAULT now(),
    CONSTRAINT consents_pkey PRIMARY KEY (user_id, client_id),
    CONSTRAINT consents_user_id_fkey FOREIGN KEY (user_id) REFERENCES users (id) ON DELETE CASCADE,
    CONSTRAINT consents_client_id_fkey FOREIGN KEY (client_id) REFERENCES clients (client_id)
        ON DELETE CASCADE,
    CONSTRAINT consents_words_length CHECK (octet_length(words::text) <= 8192)
);
CREATE INDEX consents_client_id_idx ON consents (client_id);

-- +goose Down
DROP TABLE consents;
DROP TABLE authorization_codes;
DROP TRIGGER sessions_end_children ON sessions;
DROP FUNCTION end_child_sessions;
-- The version before knows no browsers, and would take the session of one for that of a program.
UPDATE sessions SET ended_at = now(), end_reason = 'logout' WHERE browser AND ended_at IS NULL;
ALTER TABLE sessions
    DROP COLUMN claims,
    DROP COLUMN openid,
    DROP COLUMN amr,
    DROP COLUMN auth_time,
    DROP COLUMN offline,
    DROP COLUMN parent_id,
    DROP COLUMN idle_seconds,
    DROP COLUMN browser;
