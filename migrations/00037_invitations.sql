-- +goose Up
-- Accounts of people who were invited by mail, and have not accepted yet. They have a password that
-- nobody knows, and that was over when they were made. They are deleted after some days.
CREATE TABLE invitations (
    user_id    uuid        NOT NULL,
    email_key  text        NOT NULL COLLATE "C",
    created_at timestamptz NOT NULL DEFAULT now(), -- when the last mail was queued
    CONSTRAINT invitations_pkey PRIMARY KEY (user_id),
    CONSTRAINT invitations_user_id_fkey FOREIGN KEY (user_id) REFERENCES users (id) ON DELETE CASCADE,
    -- An address is invited once: whoever is asked twice must not have two accounts.
    CONSTRAINT invitations_email_key_unique UNIQUE (email_key),
    CONSTRAINT invitations_email_key_length CHECK (octet_length(email_key) BETWEEN 3 AND 254)
);
CREATE INDEX invitations_created_at_idx ON invitations (created_at);

-- +goose StatementBegin
CREATE FUNCTION username_is_retired(key text) RETURNS boolean LANGUAGE plpgsql STABLE AS $$
DECLARE
    secret bytea;
BEGIN
    SELECT k.secret INTO STRICT secret FROM retired_usernames_key k; -- without it the name would be free
    RETURN EXISTS (
        SELECT FROM retired_usernames r
        WHERE r.key_digest = retired_digest(secret, sha256(convert_to(username_is_retired.key, 'UTF8')))
    );
END
$$;
-- +goose StatementEnd

-- +goose Down
DROP FUNCTION username_is_retired;
DROP TABLE invitations;
