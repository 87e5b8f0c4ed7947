-- +goose Up
-- The keys under which stored password hashes were made. The key itself never comes here: check_value is
-- an HMAC under it, by which a replica that holds another key under the same id is found out at its start.
CREATE TABLE password_keys (
    id          text        NOT NULL,
    check_value bytea       NOT NULL,
    created_at  timestamptz NOT NULL DEFAULT now(),
    CONSTRAINT password_keys_pkey PRIMARY KEY (id),
    CONSTRAINT password_keys_id_form CHECK (id ~ '^[0-9a-f]{1,16}$'),
    CONSTRAINT password_keys_check_value_length CHECK (octet_length(check_value) = 32)
);

CREATE TABLE users (
    id            uuid        NOT NULL,
    username      text        NOT NULL,
    username_key  text        NOT NULL,
    password_hash text        NOT NULL,
    -- Derived, so that no hash can be stored under a key that is not on record, and no key that a hash
    -- still needs can be taken off it. NULL for an imported plain bcrypt hash.
    password_key  text        GENERATED ALWAYS AS (substring(password_hash FROM '^\$hmac-sha256\$k=([^$]*)\$')) STORED,
    disabled_at   timestamptz,
    token_version bigint      NOT NULL DEFAULT 1,
    created_at    timestamptz NOT NULL DEFAULT now(),
    updated_at    timestamptz NOT NULL DEFAULT now(),
    CONSTRAINT users_pkey PRIMARY KEY (id),
    CONSTRAINT users_username_key_unique UNIQUE (username_key),
    CONSTRAINT users_password_key_fkey FOREIGN KEY (password_key) REFERENCES password_keys (id),
    CONSTRAINT users_username_length CHECK (char_length(username) BETWEEN 1 AND 64),
    CONSTRAINT users_username_key_length CHECK (char_length(username_key) BETWEEN 1 AND 64),
    -- bcrypt, by itself or keyed; not $2x$, under which different passwords match.
    CONSTRAINT users_password_hash_form CHECK (
        password_hash ~ '^(\$hmac-sha256\$k=[0-9a-f]{1,16}\$)?\$2[aby]\$[0-9]{2}\$[./A-Za-z0-9]{53}$'
    ),
    CONSTRAINT users_token_version_positive CHECK (token_version > 0)
);
CREATE INDEX users_password_key_idx ON users (password_key);

-- +goose Down
DROP TABLE users;
DROP TABLE password_keys;
