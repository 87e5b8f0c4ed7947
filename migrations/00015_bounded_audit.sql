-- +goose Up
-- A plain digest of a name is read by whoever has a list of names. Under a key of this database's own, it is not by whoever has the
-- digests without the key. The key is no secret of the service: names stay retired whatever secrets are replaced or lost.
--
-- Nobody deletes an account meanwhile, whose name would be stored in the form of before. This comes first: whoever changes an
-- account locks users before audit_events.
LOCK TABLE users IN SHARE ROW EXCLUSIVE MODE;
CREATE TABLE retired_usernames_key (
    one    boolean NOT NULL DEFAULT true,
    secret bytea   NOT NULL,
    CONSTRAINT retired_usernames_key_pkey PRIMARY KEY (one),
    CONSTRAINT retired_usernames_key_one CHECK (one),
    CONSTRAINT retired_usernames_key_secret_length CHECK (octet_length(secret) = 32)
);
INSERT INTO retired_usernames_key (secret) VALUES (uuid_send(gen_random_uuid()) || uuid_send(gen_random_uuid()));

-- +goose StatementBegin
-- Replicas of the version before look for retired names by it too, from now on, and not only when they are given their rights.
DO $$
DECLARE
    reader text;
BEGIN
    FOR reader IN
        SELECT DISTINCT CASE WHEN a.grantee = 0 THEN 'PUBLIC' ELSE a.grantee::regrole::text END
        FROM pg_catalog.pg_class c
        CROSS JOIN LATERAL aclexplode(c.relacl) a
        WHERE c.oid = 'retired_usernames'::regclass
          AND a.privilege_type = 'SELECT'
    LOOP
        EXECUTE format('GRANT SELECT ON retired_usernames_key TO %s', reader);
    END LOOP;
END
$$;
-- What is stored of a name: its SHA-256 under the key. What was stored before is that digest alone, and can be brought under the
-- key without the name.
CREATE FUNCTION retired_digest(secret bytea, digest bytea) RETURNS bytea LANGUAGE sql IMMUTABLE STRICT AS $$
    SELECT sha256(secret || sha256(secret || digest))
$$;
CREATE OR REPLACE FUNCTION retire_username() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
    key bytea;
BEGIN
    SELECT k.secret INTO STRICT key FROM retired_usernames_key k; -- without it the name would be free
    INSERT INTO retired_usernames (key_digest) VALUES (retired_digest(key, sha256(convert_to(OLD.username_key, 'UTF8'))));
    RETURN NULL;
END
$$;
CREATE OR REPLACE FUNCTION refuse_retired_usernames() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
    key bytea;
BEGIN
    SELECT k.secret INTO STRICT key FROM retired_usernames_key k;
    IF EXISTS (
        SELECT FROM added a
        JOIN retired_usernames r ON r.key_digest = retired_digest(key, sha256(convert_to(a.username_key, 'UTF8')))
    ) THEN
        RAISE EXCEPTION 'the username was that of an account' USING ERRCODE = 'unique_violation', CONSTRAINT = 'users_username_key_unique';
    END IF;
    RETURN NULL;
END
$$;
-- +goose StatementEnd
UPDATE retired_usernames SET key_digest = retired_digest(k.secret, key_digest) FROM retired_usernames_key k;

-- How many refusals an event stands for: of more than a caller may have told one by one, there is one event for a minute.
ALTER TABLE audit_events ADD COLUMN IF NOT EXISTS count bigint NOT NULL DEFAULT 1;
ALTER TABLE audit_events DROP CONSTRAINT IF EXISTS audit_events_count_positive;
ALTER TABLE audit_events ADD CONSTRAINT audit_events_count_positive CHECK (count > 0) NOT VALID;

-- +goose StatementBegin
-- The version of the service before this one counts nothing, and says no count.
CREATE OR REPLACE FUNCTION record_event(event jsonb, user_id uuid) RETURNS bigint LANGUAGE plpgsql AS $$
DECLARE
    recorded bigint;
BEGIN
    INSERT INTO audit_events AS e (action, outcome, actor, actor_id, user_id, target, request_id, client_address, user_agent, count)
    VALUES (event->>'action', event->>'outcome', event->>'actor', (event->>'actor_id')::uuid, record_event.user_id,
            event->>'target', event->>'request_id', event->>'client_address', event->>'user_agent', coalesce((event->>'count')::bigint, 1))
    RETURNING e.id INTO recorded;
    RETURN recorded;
END
$$;
-- +goose StatementEnd

-- +goose Down
-- The column of counts and record_event stay as they are: the version before needs nothing else, and whoever is about to tell of
-- something would not find the column any more.
--
-- Whoever makes or deletes an account waits, and then runs the functions of before.
LOCK TABLE users IN SHARE ROW EXCLUSIVE MODE;
-- +goose StatementBegin
-- Nothing turns the digests back, and names that strangers could take over are worse than a schema that stays.
DO $$
BEGIN
    IF EXISTS (SELECT FROM retired_usernames) THEN
        RAISE EXCEPTION 'names of deleted accounts would be free: the version before works on this schema too'
            USING HINT = 'To free them, DELETE FROM retired_usernames.';
    END IF;
END
$$;
-- +goose StatementEnd

-- +goose StatementBegin
CREATE OR REPLACE FUNCTION retire_username() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO retired_usernames (key_digest) VALUES (sha256(convert_to(OLD.username_key, 'UTF8')));
    RETURN NULL;
END
$$;
CREATE OR REPLACE FUNCTION refuse_retired_usernames() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF EXISTS (SELECT FROM added a JOIN retired_usernames r ON r.key_digest = sha256(convert_to(a.username_key, 'UTF8'))) THEN
        RAISE EXCEPTION 'the username was that of an account' USING ERRCODE = 'unique_violation', CONSTRAINT = 'users_username_key_unique';
    END IF;
    RETURN NULL;
END
$$;
-- +goose StatementEnd
DROP FUNCTION retired_digest;
DROP TABLE retired_usernames_key;
