-- +goose Up
-- A password that must be changed logs nobody in: it is good for setting another one, and for nothing else. An operator has
-- chosen it, or has told its owner to replace it.
ALTER TABLE users ADD COLUMN must_change_password boolean NOT NULL DEFAULT false;
-- When it is good for nothing any more; NULL: never. Initial secrets, which lie in mailboxes, expire.
ALTER TABLE users ADD COLUMN password_expires_at timestamptz;
ALTER TABLE users ADD CONSTRAINT users_password_that_expires_must_change CHECK (password_expires_at IS NULL OR must_change_password);

-- Ends the live sessions of a user, but for one. A statement sees what was committed when it began: a session that starts
-- while the statement waits for its user's row would outlive it. A function sees what is committed when it is called.
-- +goose StatementBegin
CREATE FUNCTION end_sessions(of_user uuid, keep uuid, why text) RETURNS void
LANGUAGE plpgsql AS $$
BEGIN
    UPDATE sessions
    SET ended_at = now(), end_reason = why
    WHERE user_id = of_user
      AND id <> keep
      AND ended_at IS NULL;
END
$$;
-- +goose StatementEnd

-- +goose Down
DROP FUNCTION end_sessions;
ALTER TABLE users DROP COLUMN password_expires_at;
ALTER TABLE users DROP COLUMN must_change_password;
