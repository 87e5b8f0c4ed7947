-- +goose Up
-- The keys that sign ID tokens. They are as those of signing_keys, in a table of their own: the version before reads every
-- row of signing_keys, and would accept access tokens by them. Each algorithm has its own ring, of which one key signs.
CREATE TABLE id_token_keys (
    kid              text        NOT NULL, -- the thumbprint (RFC 7638)
    algorithm        text        NOT NULL,
    state            text        NOT NULL,
    public_jwk       text,
    sealed_private   bytea,                -- encrypted under a key that is derived from SECRET_KEY
    lifetime_seconds bigint      NOT NULL, -- the longest of any token signed with it
    created_at       timestamptz NOT NULL,
    activated_at     timestamptz,
    retiring_at      timestamptz,
    ended_at         timestamptz,
    CONSTRAINT id_token_keys_pkey PRIMARY KEY (kid),
    CONSTRAINT id_token_keys_kid_form CHECK (kid ~ '^[A-Za-z0-9_-]{1,64}$'),
    -- HS256 is not among them: a client would have to know the secret.
    CONSTRAINT id_token_keys_algorithm_known CHECK (algorithm IN ('RS256', 'ES256', 'EdDSA')),
    CONSTRAINT id_token_keys_state_known CHECK (state IN ('next', 'active', 'retiring', 'retired', 'revoked')),
    CONSTRAINT id_token_keys_public CHECK (public_jwk IS NOT NULL),
    -- What does not sign any more is forgotten, so that nobody can sign with it.
    CONSTRAINT id_token_keys_private CHECK ((state IN ('next', 'active')) = (sealed_private IS NOT NULL)),
    CONSTRAINT id_token_keys_lifetime CHECK (lifetime_seconds BETWEEN 0 AND 86400),
    CONSTRAINT id_token_keys_activated CHECK (state NOT IN ('active', 'retiring') OR activated_at IS NOT NULL),
    CONSTRAINT id_token_keys_retiring CHECK (state <> 'retiring' OR retiring_at IS NOT NULL),
    CONSTRAINT id_token_keys_ended CHECK ((state IN ('retired', 'revoked')) = (ended_at IS NOT NULL)),
    CONSTRAINT id_token_keys_order CHECK (created_at <= activated_at AND activated_at <= retiring_at)
);
CREATE UNIQUE INDEX id_token_keys_active_idx ON id_token_keys (algorithm) WHERE state = 'active';
CREATE UNIQUE INDEX id_token_keys_next_idx ON id_token_keys (algorithm) WHERE state = 'next';

CREATE TRIGGER id_token_keys_forward BEFORE UPDATE ON id_token_keys FOR EACH ROW EXECUTE FUNCTION keep_signing_key_order();
CREATE TRIGGER id_token_keys_told AFTER INSERT OR UPDATE ON id_token_keys FOR EACH ROW EXECUTE FUNCTION notify_signing_keys();

-- +goose Down
DROP TABLE id_token_keys;
