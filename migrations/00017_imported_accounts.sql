-- +goose Up
-- What names look like (UTS #39 §4), of all that are not in ASCII alone: the service makes the skeletons. Those of plain
-- names would be the names themselves, which have an index already.
CREATE TABLE username_skeletons (
    user_id  uuid    NOT NULL,
    skeleton bytea,            -- SHA-256, since a skeleton may be too long for an index; NULL: not made yet
    is_alone boolean NOT NULL DEFAULT false, -- registered by a stranger, whose name may look like nobody else's
    CONSTRAINT username_skeletons_pkey PRIMARY KEY (user_id),
    CONSTRAINT username_skeletons_user_id_fkey FOREIGN KEY (user_id) REFERENCES users (id) ON DELETE CASCADE,
    CONSTRAINT username_skeletons_skeleton_length CHECK (octet_length(skeleton) = 32),
    CONSTRAINT username_skeletons_alone_has_skeleton CHECK (NOT is_alone OR skeleton IS NOT NULL)
);
CREATE INDEX username_skeletons_skeleton_idx ON username_skeletons (skeleton);
CREATE UNIQUE INDEX username_skeletons_alone_idx ON username_skeletons (skeleton) WHERE is_alone;
CREATE INDEX username_skeletons_missing_idx ON username_skeletons (user_id) WHERE skeleton IS NULL;

-- This reads all users once, and locks none. What the version before registers meanwhile is missed: that is a few names.
INSERT INTO username_skeletons (user_id)
SELECT id FROM users WHERE octet_length(username_key) <> char_length(username_key);

-- In the schema, for what imports and operators do, and the version before.
-- +goose StatementBegin
CREATE FUNCTION want_skeleton() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO username_skeletons (user_id) VALUES (NEW.id) ON CONFLICT ON CONSTRAINT username_skeletons_pkey DO NOTHING;
    RETURN NULL;
END
$$;
-- +goose StatementEnd
CREATE TRIGGER users_want_skeleton AFTER INSERT ON users
    FOR EACH ROW WHEN (octet_length(NEW.username_key) <> char_length(NEW.username_key)) EXECUTE FUNCTION want_skeleton();

-- Each of these constraints lets more pass than the one before it, so that no row needs to be looked at again (NOT VALID).
-- Argon2id comes with imported accounts, and is gone after their first login.
ALTER TABLE users DROP CONSTRAINT users_password_hash_form;
ALTER TABLE users ADD CONSTRAINT users_password_hash_form CHECK (
    password_hash ~ '^(\$hmac-sha256\$k=[0-9a-f]{1,16}\$)?\$2[aby]\$[0-9]{2}\$[./A-Za-z0-9]{53}$'
    OR password_hash ~ '^\$argon2id\$v=19\$m=[0-9]{1,6},t=[0-9]{1,2},p=[0-9]{1,2}\$[A-Za-z0-9+/]{11,86}\$[A-Za-z0-9+/]{22,86}$'
) NOT VALID;
-- An address may have 254 bytes (RFC 5321 §4.5.3.1.3, without the angle brackets).
ALTER TABLE users DROP CONSTRAINT users_username_length;
ALTER TABLE users ADD CONSTRAINT users_username_length CHECK (
    char_length(username) BETWEEN 1 AND 64 OR strpos(username_key, '@') > 0 AND octet_length(username) BETWEEN 1 AND 254
) NOT VALID;
ALTER TABLE users DROP CONSTRAINT users_username_key_length;
ALTER TABLE users ADD CONSTRAINT users_username_key_length CHECK (
    char_length(username_key) BETWEEN 1 AND 64 OR strpos(username_key, '@') > 0 AND octet_length(username_key) BETWEEN 1 AND 254
) NOT VALID;

-- +goose Down
-- Fails where there are accounts that the version before cannot have: it must not lose them, nor change their names. That is
-- looked at first, while nobody has to wait.
-- +goose StatementBegin
DO $$
BEGIN
    IF EXISTS (
        SELECT FROM users
        WHERE char_length(username_key) > 64
           OR char_length(username) > 64
           OR password_hash LIKE '$argon2id$%'
    ) THEN
        RAISE EXCEPTION 'there are accounts with names of more than 64 characters, or with passwords by Argon2id'
            USING ERRCODE = 'check_violation';
    END IF;
END
$$;
-- +goose StatementEnd
ALTER TABLE users DROP CONSTRAINT users_username_key_length;
ALTER TABLE users ADD CONSTRAINT users_username_key_length CHECK (char_length(username_key) BETWEEN 1 AND 64) NOT VALID;
ALTER TABLE users DROP CONSTRAINT users_username_length;
ALTER TABLE users ADD CONSTRAINT users_username_length CHECK (char_length(username) BETWEEN 1 AND 64) NOT VALID;
ALTER TABLE users DROP CONSTRAINT users_password_hash_form;
ALTER TABLE users ADD CONSTRAINT users_password_hash_form CHECK (
    password_hash ~ '^(\$hmac-sha256\$k=[0-9a-f]{1,16}\$)?\$2[aby]\$[0-9]{2}\$[./A-Za-z0-9]{53}$'
) NOT VALID;
DROP TRIGGER users_want_skeleton ON users;
DROP FUNCTION want_skeleton;
DROP TABLE username_skeletons;
