-- +goose Up
-- A password that must be changed logs nobody in: it is good for setting another one, and for nothing else. An operator has
-- chosen it, or has told its owner to replace it.
ALTER TABLE users ADD COLUMN must_change_password boolean NOT NULL DEFAULT false;
-- When it is good for nothing any more; NULL: never. Initial secrets, which lie in mailboxes, expire.
ALTER TABLE users ADD COLUMN password_expires_at timestamptz;
ALTER TABLE users ADD CONSTRAINT users_password_that_expires_must_change CHECK (password_expires_at IS NULL OR must_change_password);

-- +goose Down
ALTER TABLE users DROP COLUMN password_expires_at;
ALTER TABLE users DROP COLUMN must_change_password;
