-- +goose Up
-- The keys that sign access tokens. A key is next, so that others learn of it before it signs; active, of which there is one;
-- retiring, until the last token that it signed is dead; and retired. One that leaked is revoked from any state.
CREATE TABLE signing_keys (
    kid              text        NOT NULL, -- of an asymmetric key its thumbprint (RFC 7638)
    algorithm        text        NOT NULL,
    state            text        NOT NULL,
    public_jwk       text,
    sealed_private   bytea,                -- encrypted under a key that is derived from SECRET_KEY
    lifetime_seconds bigint      NOT NULL, -- the longest of any token signed with it
    created_at       timestamptz NOT NULL,
    activated_at     timestamptz,
    retiring_at      timestamptz,
    ended_at         timestamptz,
    CONSTRAINT signing_keys_pkey PRIMARY KEY (kid),
    CONSTRAINT signing_keys_kid_form CHECK (kid ~ '^[A-Za-z0-9_-]{1,64}$'),
    CONSTRAINT signing_keys_algorithm_known CHECK (algorithm IN ('HS256', 'ES256', 'EdDSA', 'RS256')),
    CONSTRAINT signing_keys_state_known CHECK (state IN ('next', 'active', 'retiring', 'retired', 'revoked')),
    -- The secret of HS256 is SECRET_KEY itself, and is not kept here.
    CONSTRAINT signing_keys_public CHECK ((algorithm = 'HS256') = (public_jwk IS NULL)),
    -- What does not sign any more is forgotten, so that nobody can sign with it.
    CONSTRAINT signing_keys_private CHECK ((algorithm <> 'HS256' AND state IN ('next', 'active')) = (sealed_private IS NOT NULL)),
    CONSTRAINT signing_keys_lifetime CHECK (lifetime_seconds BETWEEN 0 AND 86400),
    CONSTRAINT signing_keys_activated CHECK (state NOT IN ('active', 'retiring') OR activated_at IS NOT NULL),
    CONSTRAINT signing_keys_retiring CHECK (state <> 'retiring' OR retiring_at IS NOT NULL),
    CONSTRAINT signing_keys_ended CHECK ((state IN ('retired', 'revoked')) = (ended_at IS NOT NULL)),
    CONSTRAINT signing_keys_order CHECK (created_at <= activated_at AND activated_at <= retiring_at)
);
CREATE UNIQUE INDEX signing_keys_active_idx ON signing_keys (state) WHERE state = 'active';
CREATE UNIQUE INDEX signing_keys_next_idx ON signing_keys (state) WHERE state = 'next';

-- +goose StatementBegin
-- A key never goes back: what was refused once must not pass again.
CREATE FUNCTION keep_signing_key_order() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
    states CONSTANT text[] := ARRAY['next', 'active', 'retiring', 'retired'];
BEGIN
    IF (NEW.kid, NEW.algorithm, NEW.public_jwk, NEW.created_at) IS DISTINCT FROM (OLD.kid, OLD.algorithm, OLD.public_jwk, OLD.created_at)
        OR OLD.state = 'revoked' AND NEW.state <> 'revoked'
        OR OLD.state = 'retired' AND NEW.state <> 'retired'
        OR NEW.state <> 'revoked' AND array_position(states, NEW.state) < array_position(states, OLD.state) THEN
        RAISE EXCEPTION 'signing key % cannot go back', OLD.kid USING ERRCODE = 'check_violation', CONSTRAINT = 'signing_keys_forward';
    END IF;
    RETURN NEW;
END
$$;
CREATE FUNCTION notify_signing_keys() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    PERFORM pg_notify('gatehouse_signing_keys', '');
    RETURN NULL;
END
$$;
-- +goose StatementEnd
CREATE TRIGGER signing_keys_forward BEFORE UPDATE ON signing_keys FOR EACH ROW EXECUTE FUNCTION keep_signing_key_order();
CREATE TRIGGER signing_keys_told AFTER INSERT OR UPDATE ON signing_keys FOR EACH ROW EXECUTE FUNCTION notify_signing_keys(); -- not each statement: most raise no lifetime

-- Where tokens have been issued already, they were signed with SECRET_KEY, and go on to be.
INSERT INTO signing_keys (kid, algorithm, state, lifetime_seconds, created_at, activated_at)
SELECT 'secret-0', 'HS256', 'active', 86400, now(), now()
WHERE EXISTS (SELECT FROM users);

-- What a replica does by itself is told of too. NOT VALID, since to look at a log of years would take long, and what is in it
-- had to be less.
ALTER TABLE audit_events DROP CONSTRAINT audit_events_actor_known;
ALTER TABLE audit_events ADD CONSTRAINT audit_events_actor_known CHECK (actor IN ('anonymous', 'user', 'operator', 'service')) NOT VALID;

-- +goose Down
UPDATE audit_events SET actor = 'anonymous' WHERE actor = 'service';
ALTER TABLE audit_events DROP CONSTRAINT audit_events_actor_known;
ALTER TABLE audit_events ADD CONSTRAINT audit_events_actor_known CHECK (actor IN ('anonymous', 'user', 'operator'));
DROP TABLE signing_keys;
DROP FUNCTION notify_signing_keys;
DROP FUNCTION keep_signing_key_order;
