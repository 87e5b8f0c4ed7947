-- +goose Up
-- What people prove besides the password. A replica of the version before asks for none of it, so
-- factors are set up once all replicas are of this version.
ALTER TABLE roles
    -- Whoever has the role must have a second factor.
    ADD COLUMN factor boolean NOT NULL DEFAULT false;
ALTER TABLE users
    -- Since then nobody knows the password whose hash is stored. NULL: there is one.
    ADD COLUMN password_removed_at timestamptz,
    -- How many codes in a row were wrong (NIST SP 800-63B-4 §3.2.2). NULL: none.
    ADD COLUMN factor_failures integer,
    ADD CONSTRAINT users_factor_failures_positive CHECK (factor_failures > 0) NOT VALID;
ALTER TABLE sessions
    -- The login left out the second factor, since the device is trusted.
    ADD COLUMN trusted boolean NOT NULL DEFAULT false;
-- An app without a browser gets a code for what it has proved itself. NULL of the client: the
-- built-in one.
ALTER TABLE authorization_codes
    ALTER COLUMN session_id DROP NOT NULL,
    ALTER COLUMN redirect_uri DROP NOT NULL,
    ALTER COLUMN client_id DROP NOT NULL,
    ADD CONSTRAINT authorization_codes_browser_has_redirect_uri
        CHECK ((session_id IS NULL) = (redirect_uri IS NULL)) NOT VALID,
    ADD CONSTRAINT authorization_codes_browser_has_client
        CHECK (session_id IS NULL OR client_id IS NOT NULL) NOT VALID,
    ADD CONSTRAINT authorization_codes_challenged_without_browser
        CHECK (session_id IS NOT NULL OR challenge IS NOT NULL) NOT VALID;

-- The secrets of time-based codes (RFC 6238), sealed with a key of SECRET_KEY.
CREATE TABLE totp_secrets (
    user_id    uuid        NOT NULL,
    sealed     bytea       NOT NULL,
    last_step  bigint      NOT NULL, -- of the last code that was used. No earlier one is good
    created_at timestamptz NOT NULL DEFAULT now(),
    CONSTRAINT totp_secrets_pkey PRIMARY KEY (user_id),
    CONSTRAINT totp_secrets_user_id_fkey FOREIGN KEY (user_id) REFERENCES users (id) ON DELETE CASCADE,
    CONSTRAINT totp_secrets_sealed_length CHECK (octet_length(sealed) BETWEEN 32 AND 128),
    CONSTRAINT totp_secrets_last_step_not_negative CHECK (last_step >= 0)
);

-- Codes for whoever has lost the other factors. Each is good once.
CREATE TABLE recovery_codes (
    user_id    uuid        NOT NULL,
    digest     bytea       NOT NULL,
    created_at timestamptz NOT NULL DEFAULT now(),
    used_at    timestamptz,
    CONSTRAINT recovery_codes_pkey PRIMARY KEY (user_id, digest),
    CONSTRAINT recovery_codes_user_id_fkey FOREIGN KEY (user_id) REFERENCES users (id) ON DELETE CASCADE,
    CONSTRAINT recovery_codes_digest_length CHECK (octet_length(digest) = 32)
);

-- The public keys of passkeys (WebAuthn §4, credential record).
CREATE TABLE passkeys (
    id              uuid        NOT NULL,
    user_id         uuid        NOT NULL,
    credential_id   bytea       NOT NULL,
    public_key      bytea       NOT NULL, -- as COSE has it (RFC 9052 §7)
    name            text        NOT NULL,
    sign_count      bigint      NOT NULL,
    aaguid          uuid        NOT NULL,
    backup_eligible boolean     NOT NULL, -- it is copied to other devices
    backed_up       boolean     NOT NULL,
    user_verified   boolean     NOT NULL, -- when it was made
    transports      text[]      NOT NULL,
    created_at      timestamptz NOT NULL DEFAULT now(),
    last_used_at    timestamptz,
    CONSTRAINT passkeys_pkey PRIMARY KEY (id),
    CONSTRAINT passkeys_user_id_fkey FOREIGN KEY (user_id) REFERENCES users (id) ON DELETE CASCADE,
    CONSTRAINT passkeys_credential_id_unique UNIQUE (credential_id),
    CONSTRAINT passkeys_credential_id_length CHECK (octet_length(credential_id) BETWEEN 1 AND 1023),
    CONSTRAINT passkeys_public_key_length CHECK (octet_length(public_key) BETWEEN 1 AND 4096),
    CONSTRAINT passkeys_name_length CHECK (char_length(name) BETWEEN 1 AND 64),
    CONSTRAINT passkeys_sign_count_form CHECK (sign_count BETWEEN 0 AND 4294967295),
    CONSTRAINT passkeys_backed_up_is_eligible CHECK (backup_eligible OR NOT backed_up),
    CONSTRAINT passkeys_transports_bounded CHECK (cardinality(transports) <= 8)
);
CREATE INDEX passkeys_user_id_idx ON passkeys (user_id);

-- The id under which passkeys are made. Passkeys of another one would be good for nothing.
CREATE TABLE passkey_rp (
    only_row boolean NOT NULL DEFAULT true,
    rp_id    text    NOT NULL,
    CONSTRAINT passkey_rp_pkey PRIMARY KEY (only_row),
    CONSTRAINT passkey_rp_only_row CHECK (only_row),
    CONSTRAINT passkey_rp_rp_id_length CHECK (octet_length(rp_id) BETWEEN 1 AND 253)
);

-- Known devices on which a user leaves out the second factor for a while.
CREATE TABLE trusted_devices (
    user_id        uuid        NOT NULL,
    device_id      uuid        NOT NULL, -- in the token of the device
    created_at     timestamptz NOT NULL DEFAULT now(),
    expires_at     timestamptz NOT NULL,
    client_address text        NOT NULL,
    user_agent     text        NOT NULL,
    CONSTRAINT trusted_devices_pkey PRIMARY KEY (user_id, device_id),
    CONSTRAINT trusted_devices_user_id_fkey FOREIGN KEY (user_id) REFERENCES users (id) ON DELETE CASCADE,
    CONSTRAINT trusted_devices_client_address_length CHECK (char_length(client_address) <= 64),
    CONSTRAINT trusted_devices_user_agent_length CHECK (char_length(user_agent) <= 256)
);
CREATE INDEX trusted_devices_expires_at_idx ON trusted_devices (expires_at);

-- What is good once and is stored nowhere before: challenges of passkeys, and logins between their
-- two steps. It is kept until it would be too old anyway.
CREATE TABLE redeemed_proofs (
    digest     bytea       NOT NULL,
    expires_at timestamptz NOT NULL,
    CONSTRAINT redeemed_proofs_pkey PRIMARY KEY (digest),
    CONSTRAINT redeemed_proofs_digest_length CHECK (octet_length(digest) = 32)
);
CREATE INDEX redeemed_proofs_expires_at_idx ON redeemed_proofs (expires_at);

-- factors_of gives what a user can prove besides the password, and whether a role demands it. It
-- has one row for each id, also for an id that nobody has, as rights_of has.
-- +goose StatementBegin
CREATE FUNCTION factors_of(of_user uuid)
    RETURNS TABLE (totp boolean, passkeys integer, recovery_codes integer, factor_demanded boolean)
LANGUAGE sql STABLE PARALLEL SAFE
BEGIN ATOMIC
    -- Counts, since the planner may answer EXISTS of many users by reading the tables whole.
    SELECT (SELECT count(*) > 0 FROM totp_secrets t WHERE t.user_id = of_user),
           (SELECT count(*)::integer FROM passkeys p WHERE p.user_id = of_user),
           (SELECT count(*)::integer FROM recovery_codes c WHERE c.user_id = of_user AND c.used_at IS NULL),
           (
               SELECT coalesce(bool_or(r.factor), false)
               FROM user_roles ur
               JOIN roles r ON r.name = ur.role_name
               WHERE ur.user_id = of_user
           );
END;
-- +goose StatementEnd

CREATE OR REPLACE VIEW accounts AS
SELECT u.id, u.username, u.username_key, u.disabled_at, u.token_version, u.created_at, u.updated_at,
       u.must_change_password, u.password_expires_at,
       coalesce(u.password_changed_at, 'epoch')::timestamptz AS password_changed_at,
       r.roles::text[] AS roles, r.permissions::text[] AS permissions,
       u.email, u.email_key, u.email_verified_at, u.verify_until,
       (u.password_removed_at IS NOT NULL)::boolean AS passwordless, f.totp::boolean AS totp, f.passkeys::integer AS passkeys,
       f.recovery_codes::integer AS recovery_codes, f.factor_demanded::boolean AS factor_demanded
FROM users u
CROSS JOIN LATERAL rights_of(u.id) r
CROSS JOIN LATERAL factors_of(u.id) f;

-- +goose StatementBegin
CREATE OR REPLACE FUNCTION account_or_stand_in(u users, of_user uuid, called text) RETURNS SETOF accounts
LANGUAGE sql STABLE PARALLEL SAFE ROWS 1
BEGIN ATOMIC
    SELECT of_user, coalesce(u.username, called), coalesce(u.username_key, called), u.disabled_at,
           coalesce(u.token_version, 1), coalesce(u.created_at, now()),
           coalesce(u.updated_at, now()), coalesce(u.must_change_password, false),
           u.password_expires_at, coalesce(u.password_changed_at, 'epoch'), r.roles, r.permissions,
           u.email, u.email_key, u.email_verified_at, u.verify_until,
           u.password_removed_at IS NOT NULL, f.totp, f.passkeys, f.recovery_codes, f.factor_demanded
    FROM rights_of(of_user) r
    CROSS JOIN factors_of(of_user) f;
END;
-- +goose StatementEnd

-- +goose Down
-- Fails where there are factors: the version before would let their users in without. That is
-- looked at first, while nobody has to wait.
-- +goose StatementBegin
DO $$
BEGIN
    IF EXISTS (SELECT FROM totp_secrets) OR EXISTS (SELECT FROM passkeys) OR EXISTS (SELECT FROM users WHERE password_removed_at IS NOT NULL) THEN
        RAISE EXCEPTION 'second factors would be lost, and the version before asks for none'
            USING HINT = 'To give them up, reset the factors of each user.';
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
ALTER TABLE sessions DROP COLUMN trusted;
DELETE FROM authorization_codes WHERE session_id IS NULL;
ALTER TABLE authorization_codes
    DROP CONSTRAINT authorization_codes_browser_has_redirect_uri,
    DROP CONSTRAINT authorization_codes_browser_has_client,
    DROP CONSTRAINT authorization_codes_challenged_without_browser,
    ALTER COLUMN session_id SET NOT NULL,
    ALTER COLUMN redirect_uri SET NOT NULL,
    ALTER COLUMN client_id SET NOT NULL;
DROP FUNCTION account_or_stand_in;
DROP FUNCTION account_of;
DROP VIEW accounts;
DROP FUNCTION factors_of;
ALTER TABLE users
    DROP COLUMN password_removed_at,
    DROP COLUMN factor_failures;
ALTER TABLE roles DROP COLUMN factor;
DROP TABLE redeemed_proofs;
DROP TABLE trusted_devices;
DROP TABLE passkey_rp;
DROP TABLE passkeys;
DROP TABLE recovery_codes;
DROP TABLE totp_secrets;
CREATE VIEW accounts AS
SELECT u.id, u.username, u.username_key, u.disabled_at, u.token_version, u.created_at, u.updated_at,
       u.must_change_password, u.password_expires_at,
       coalesce(u.password_changed_at, 'epoch')::timestamptz AS password_changed_at,
       r.roles::text[] AS roles, r.permissions::text[] AS permissions,
       u.email, u.email_key, u.email_verified_at, u.verify_until
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
           u.password_expires_at, coalesce(u.password_changed_at, 'epoch'), r.roles, r.permissions,
           u.email, u.email_key, u.email_verified_at, u.verify_until
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
