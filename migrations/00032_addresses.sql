-- +goose Up
-- The e-mail address of an account, as its user wrote it, and its key: local part without case,
-- domain in lower case and as A-labels. It counts for nothing until it is verified. The version
-- before knows no addresses.
ALTER TABLE users
    ADD COLUMN email text,
    ADD COLUMN email_key text,
    ADD COLUMN email_verified_at timestamptz,
    -- Whoever registers where addresses are required has to verify one until then. NULL: no need.
    ADD COLUMN verify_until timestamptz,
    -- The key that the username would have as an address, where it has another one as a username:
    -- that of bob@bücher.example is bob@xn--bcher-kva.example. PostgreSQL cannot make it.
    ADD COLUMN username_address text,
    ADD CONSTRAINT users_email_has_key CHECK ((email IS NULL) = (email_key IS NULL)) NOT VALID,
    ADD CONSTRAINT users_email_verified_is_there
        CHECK (email_verified_at IS NULL OR email IS NOT NULL) NOT VALID,
    ADD CONSTRAINT users_verify_until_is_open
        CHECK (verify_until IS NULL OR email IS NOT NULL AND email_verified_at IS NULL) NOT VALID,
    -- RFC 5321 §4.5.3.1.3, without the angle brackets.
    ADD CONSTRAINT users_email_length CHECK (octet_length(email) BETWEEN 3 AND 254) NOT VALID,
    ADD CONSTRAINT users_email_key_form
        CHECK (octet_length(email_key) <= 254 AND email_key ~ '^[^@]+@[^@]+$') NOT VALID,
    ADD CONSTRAINT users_username_address_form
        CHECK (octet_length(username_address) <= 254 AND username_address ~ '^[^@]+@[^@]+$'
            AND username_address <> username_key) NOT VALID;

-- One key of a login is one account: usernames with an @, and verified addresses. A name without an
-- @ can be no address, and is in users alone.
CREATE TABLE login_keys (
    key     text NOT NULL COLLATE "C",
    user_id uuid NOT NULL,
    kind    text NOT NULL,
    CONSTRAINT login_keys_pkey PRIMARY KEY (key),
    CONSTRAINT login_keys_user_id_fkey FOREIGN KEY (user_id) REFERENCES users (id) ON DELETE CASCADE,
    CONSTRAINT login_keys_kind_known CHECK (kind IN ('username', 'address')),
    -- A name of 64 characters may have 256 bytes.
    CONSTRAINT login_keys_key_form CHECK (octet_length(key) <= 256 AND strpos(key, '@') > 0)
);
CREATE INDEX login_keys_user_id_idx ON login_keys (user_id);

-- The version before reads the name of a constraint to know that a username is taken, and knows
-- this one.
-- +goose StatementBegin
CREATE FUNCTION keep_login_keys() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
    address CONSTANT text := CASE WHEN NEW.email_verified_at IS NOT NULL THEN NEW.email_key END;
    wanted record;
BEGIN
    IF TG_OP = 'UPDATE' THEN
        DELETE FROM login_keys l
        WHERE l.user_id = NEW.id
          AND l.key NOT IN (NEW.username_key, coalesce(NEW.username_address, ''), coalesce(address, ''));
    END IF;
    FOR wanted IN
        SELECT k.key, max(k.proved) AS proved
        FROM (VALUES (NEW.username_key, 0), (NEW.username_address, 0), (address, 1)) AS k (key, proved)
        WHERE strpos(k.key, '@') > 0
        GROUP BY k.key
        ORDER BY k.key COLLATE "C"
    LOOP
        INSERT INTO login_keys AS l (key, user_id, kind)
        VALUES (wanted.key, NEW.id, CASE wanted.proved WHEN 1 THEN 'address' ELSE 'username' END)
        ON CONFLICT ON CONSTRAINT login_keys_pkey DO UPDATE SET kind = excluded.kind
            WHERE l.user_id = excluded.user_id;
        IF NOT FOUND AND wanted.proved = 1 THEN
            RAISE EXCEPTION 'the address belongs to another account'
                USING ERRCODE = 'unique_violation', CONSTRAINT = 'login_keys_pkey';
        ELSIF NOT FOUND THEN
            RAISE EXCEPTION 'the username is the address of another account'
                USING ERRCODE = 'unique_violation', CONSTRAINT = 'users_username_key_unique';
        END IF;
    END LOOP;
    RETURN NULL;
END
$$;
-- +goose StatementEnd
CREATE TRIGGER users_login_keys_added AFTER INSERT ON users
    FOR EACH ROW WHEN (strpos(NEW.username_key, '@') > 0 OR NEW.email_verified_at IS NOT NULL)
    EXECUTE FUNCTION keep_login_keys();
CREATE TRIGGER users_login_keys_changed
    AFTER UPDATE OF username_key, username_address, email_key, email_verified_at ON users
    FOR EACH ROW EXECUTE FUNCTION keep_login_keys();

-- Replicas of the version before insert usernames with an @, by which the triggers write here.
-- +goose StatementBegin
DO $$
DECLARE
    writer text;
BEGIN
    FOR writer IN
        SELECT DISTINCT CASE WHEN a.grantee = 0 THEN 'PUBLIC' ELSE a.grantee::regrole::text END
        FROM pg_catalog.pg_class c
        CROSS JOIN LATERAL aclexplode(c.relacl) a
        WHERE c.oid = 'users'::regclass
          AND a.privilege_type = 'INSERT'
    LOOP
        EXECUTE format('GRANT SELECT, INSERT, UPDATE, DELETE ON login_keys TO %s', writer);
    END LOOP;
END
$$;
-- +goose StatementEnd

CREATE OR REPLACE VIEW accounts AS
SELECT u.id, u.username, u.username_key, u.disabled_at, u.token_version, u.created_at, u.updated_at,
       u.must_change_password, u.password_expires_at,
       coalesce(u.password_changed_at, 'epoch')::timestamptz AS password_changed_at,
       r.roles::text[] AS roles, r.permissions::text[] AS permissions,
       u.email, u.email_key, u.email_verified_at, u.verify_until
FROM users u
CROSS JOIN LATERAL rights_of(u.id) r;

-- +goose StatementBegin
CREATE OR REPLACE FUNCTION account_or_stand_in(u users, of_user uuid, called text) RETURNS SETOF accounts
LANGUAGE sql STABLE PARALLEL SAFE ROWS 1
BEGIN ATOMIC
    SELECT of_user, coalesce(u.username, called), coalesce(u.username_key, called), u.disabled_at,
           coalesce(u.token_version, 1), coalesce(u.created_at, now()),
           coalesce(u.updated_at, now()), coalesce(u.must_change_password, false),
           u.password_expires_at, coalesce(u.password_changed_at, 'epoch'), r.roles, r.permissions,
           u.email, u.email_key, u.email_verified_at, u.verify_until
    FROM rights_of(of_user) r;
END;
-- +goose StatementEnd

-- +goose Down
-- Fails where there are addresses, which the version before would lose. It works on this schema
-- too. That is looked at first, while nobody has to wait.
-- +goose StatementBegin
DO $$
BEGIN
    IF EXISTS (SELECT FROM users WHERE email IS NOT NULL) THEN
        RAISE EXCEPTION 'addresses of accounts would be lost: the version before works on this schema too'
            USING HINT = 'To give them up, UPDATE users SET email = NULL, email_key = NULL, email_verified_at = NULL.';
    END IF;
END
$$;
-- A view loses no columns. It is made anew, with the rights that were given on it.
CREATE TEMPORARY TABLE accounts_readers ON COMMIT DROP AS
SELECT DISTINCT CASE WHEN a.grantee = 0 THEN 'PUBLIC' ELSE a.grantee::regrole::text END AS reader
FROM pg_catalog.pg_class c
CROSS JOIN LATERAL aclexplode(c.relacl) a
WHERE c.oid = 'accounts'::regclass
  AND a.privilege_type = 'SELECT';
-- +goose StatementEnd
DROP TRIGGER users_login_keys_added ON users;
DROP TRIGGER users_login_keys_changed ON users;
DROP FUNCTION account_or_stand_in;
DROP FUNCTION account_of;
DROP VIEW accounts;
DROP FUNCTION keep_login_keys;
DROP TABLE login_keys;
ALTER TABLE users
    DROP COLUMN email,
    DROP COLUMN email_key,
    DROP COLUMN email_verified_at,
    DROP COLUMN verify_until,
    DROP COLUMN username_address;
CREATE VIEW accounts AS
SELECT u.id, u.username, u.username_key, u.disabled_at, u.token_version, u.created_at, u.updated_at,
       u.must_change_password, u.password_expires_at,
       coalesce(u.password_changed_at, 'epoch')::timestamptz AS password_changed_at,
       r.roles::text[] AS roles, r.permissions::text[] AS permissions
FROM users u
CROSS JOIN LATERAL rights_of(u.id) r;
-- +goose StatementBegin
CREATE FUNCTION account_of(of_user uuid) RETURNS SETOF accounts
LANGUAGE sql VOLATILE ROWS 1 AS $$
    SELECT a.* FROM accounts a WHERE a.id = of_user
$$;
CREATE FUNCTION account_or_stand_in(u users, of_user uuid, called text) RETURNS SETOF accounts
LANGUAGE sql STABLE PARALLEL SAFE ROWS 1
BEGIN ATOMIC
    SELECT of_user, coalesce(u.username, called), coalesce(u.username_key, called), u.disabled_at,
           coalesce(u.token_version, 1), coalesce(u.created_at, now()),
           coalesce(u.updated_at, now()), coalesce(u.must_change_password, false),
           u.password_expires_at, coalesce(u.password_changed_at, 'epoch'), r.roles, r.permissions
    FROM rights_of(of_user) r;
END;
DO $$
DECLARE
    given text;
BEGIN
    FOR given IN SELECT reader FROM accounts_readers LOOP
        EXECUTE format('GRANT SELECT ON accounts TO %s', given);
    END LOOP;
END
$$;
-- +goose StatementEnd
