-- +goose Up
-- What somebody proves by mail: that they read it. The link token and the code are MACs of the id,
-- and nothing of them is stored. The worker that sends the mail makes the row, so that a request
-- does the same whether there is such an account or not.
CREATE TABLE challenges (
    id            uuid        NOT NULL, -- that of the mail that carries it
    purpose       text        NOT NULL,
    user_id       uuid        NOT NULL,
    token_version bigint, -- another version of the user voids it. NULL: none does
    email         text        NOT NULL, -- the address that is proved, or restored
    email_key     text        NOT NULL,
    attempts      integer     NOT NULL DEFAULT 0, -- guesses of the code
    created_at    timestamptz NOT NULL, -- as the mail was queued
    expires_at    timestamptz NOT NULL,
    redeemed_at   timestamptz,
    CONSTRAINT challenges_pkey PRIMARY KEY (id),
    CONSTRAINT challenges_user_id_fkey FOREIGN KEY (user_id) REFERENCES users (id) ON DELETE CASCADE,
    CONSTRAINT challenges_purpose_known CHECK (purpose IN ('reset', 'verify', 'invite', 'undo')),
    -- Whoever has taken an account over must not void what undoes that.
    CONSTRAINT challenges_undo_outlives_changes CHECK ((token_version IS NULL) = (purpose = 'undo')),
    CONSTRAINT challenges_email_length CHECK (octet_length(email) BETWEEN 3 AND 254),
    CONSTRAINT challenges_email_key_length CHECK (octet_length(email_key) BETWEEN 3 AND 254),
    CONSTRAINT challenges_attempts_bounded CHECK (attempts BETWEEN 0 AND 5)
);
-- A user has one challenge for each purpose, and any number of those that undo something.
CREATE UNIQUE INDEX challenges_current_idx ON challenges
    (user_id, purpose, (CASE WHEN purpose = 'undo' THEN id ELSE '00000000-0000-0000-0000-000000000000'::uuid END));
CREATE INDEX challenges_expires_at_idx ON challenges (expires_at);

-- +goose Down
DROP TABLE challenges;
