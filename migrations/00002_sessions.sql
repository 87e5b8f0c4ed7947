-- +goose Up
-- A session is a login that can be seen and ended. Of its refresh tokens nothing is stored but what they are made of:
-- salt and counter.
CREATE TABLE sessions (
    id              uuid        NOT NULL,
    user_id         uuid        NOT NULL,
    salt            bytea       NOT NULL,
    counter         bigint      NOT NULL DEFAULT 0,
    rotated_at      timestamptz NOT NULL DEFAULT now(),
    created_at      timestamptz NOT NULL DEFAULT now(),
    last_used_at    timestamptz NOT NULL DEFAULT now(),
    idle_expires_at timestamptz NOT NULL,
    expires_at      timestamptz NOT NULL,
    ended_at        timestamptz,
    end_reason      text,
    client_address  text        NOT NULL,
    user_agent      text        NOT NULL,
    CONSTRAINT sessions_pkey PRIMARY KEY (id),
    CONSTRAINT sessions_user_id_fkey FOREIGN KEY (user_id) REFERENCES users (id) ON DELETE CASCADE,
    CONSTRAINT sessions_salt_length CHECK (octet_length(salt) = 16),
    CONSTRAINT sessions_counter_not_negative CHECK (counter >= 0),
    CONSTRAINT sessions_end_has_reason CHECK ((ended_at IS NULL) = (end_reason IS NULL)),
    CONSTRAINT sessions_end_reason_known CHECK (end_reason IN ('logout', 'reuse', 'evicted', 'disabled', 'password', 'operator')),
    CONSTRAINT sessions_client_address_length CHECK (char_length(client_address) <= 64),
    CONSTRAINT sessions_user_agent_length CHECK (char_length(user_agent) <= 256)
);
CREATE INDEX sessions_live_by_user_idx ON sessions (user_id, id) WHERE ended_at IS NULL;
-- For those that are to be deleted. A refresh changes no column that an index has, so that it may stay on its page (HOT).
CREATE INDEX sessions_ended_at_idx ON sessions (ended_at) WHERE ended_at IS NOT NULL;
CREATE INDEX sessions_expires_at_idx ON sessions (expires_at);

-- What every replica must refuse before it expires by itself: the access tokens of a session, or those of a user that
-- carry an older version. Rows are of use for the lifetime of an access token.
CREATE TABLE revocations (
    id         bigint      GENERATED ALWAYS AS IDENTITY,
    user_id    uuid,
    version    bigint,
    session_id uuid,
    at         timestamptz NOT NULL DEFAULT now(),
    CONSTRAINT revocations_pkey PRIMARY KEY (id),
    CONSTRAINT revocations_one_subject CHECK ((user_id IS NULL) <> (session_id IS NULL)),
    CONSTRAINT revocations_user_has_version CHECK ((user_id IS NULL) = (version IS NULL))
);
CREATE INDEX revocations_at_idx ON revocations (at);

-- +goose StatementBegin
CREATE FUNCTION notify_revocations() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    NOTIFY gatehouse_revocations;
    RETURN NULL;
END
$$;
-- +goose StatementEnd
-- In the schema, so that no statement that revokes can forget it. Replicas read the rows when they hear of them.
CREATE TRIGGER revocations_notify AFTER INSERT ON revocations
    FOR EACH ROW EXECUTE FUNCTION notify_revocations();

-- +goose Down
DROP TABLE revocations;
DROP FUNCTION notify_revocations;
DROP TABLE sessions;
