-- PutChallenge decides that a mail is sent to a user who has not changed since it was read, and
-- makes its challenge, which is an event. It takes the place of an older challenge for the same
-- purpose. For another try to send the mail it finds the challenge as it is. It finds none if the
-- challenge was redeemed meanwhile, if the user has changed, or if a newer one has taken its place.
-- A challenge that undoes something is made however the user has changed: whoever has taken the
-- account over goes on with that.
-- name: PutChallenge :one
WITH m AS (
    UPDATE mails
    SET user_id = u.id, admitted_at = coalesce(admitted_at, now())
    FROM users u
    WHERE mails.id = @id
      AND mails.done_at IS NULL
      AND u.id = @user_id
      AND (@purpose::text = 'undo' OR u.token_version = @token_version AND u.disabled_at IS NULL)
    RETURNING mails.id, mails.user_id, mails.created_at, mails.expires_at,
              CASE WHEN @purpose::text <> 'undo' THEN u.token_version END AS token_version
), put AS (
    INSERT INTO challenges AS c (id, asked_as, purpose, user_id, token_version, email, email_key, created_at, expires_at)
    SELECT m.id, sqlc.narg('asked_as')::uuid, @purpose, m.user_id, m.token_version, @email, @email_key, m.created_at, m.expires_at
    FROM m
    ON CONFLICT (user_id, purpose, (CASE WHEN purpose = 'undo' THEN id ELSE '00000000-0000-0000-0000-000000000000'::uuid END)) DO UPDATE
    SET id            = excluded.id,
        asked_as      = excluded.asked_as,
        token_version = excluded.token_version,
        email         = excluded.email,
        email_key     = excluded.email_key,
        attempts      = CASE WHEN c.id = excluded.id THEN c.attempts ELSE 0 END,
        created_at    = excluded.created_at,
        expires_at    = excluded.expires_at,
        redeemed_at   = NULL
    WHERE c.created_at < excluded.created_at
       OR c.id = excluded.id
          AND c.redeemed_at IS NULL
          AND c.token_version IS NOT DISTINCT FROM excluded.token_version
    RETURNING c.user_id, c.expires_at
)
SELECT put.expires_at,
       CASE WHEN NOT EXISTS (SELECT FROM challenges x WHERE x.id = @id) THEN record_event(@event::jsonb, put.user_id) END AS event
FROM put;

-- OpenChallenge finds the user of a challenge that could be redeemed now.
-- name: OpenChallenge :one
SELECT u.id, u.username_key, c.email
FROM challenges c
JOIN users u ON u.id = c.user_id
WHERE c.id = @id
  AND c.purpose = @purpose
  AND c.redeemed_at IS NULL
  AND c.expires_at > now()
  AND u.disabled_at IS NULL
  AND (c.token_version IS NULL OR c.token_version = u.token_version);

-- GuessChallenge is OpenChallenge for somebody who guesses the code. It counts the guess first, so
-- that no number of them at once is more than five.
--
-- The id is what a request for a mail was answered with. The challenge may be that of another mail,
-- which was asked for with the same id. To have an address proved, the account itself asks, and so
-- all its requests are good for the mail that was sent last. For another password anybody asks, who
-- must not use up the guesses of the owner.
--
-- Where there is no challenge, the row of the mail is written in its place. A statement that writes
-- waits for the disk, or for a standby, and one that does not would tell by its time that there is
-- no such account, or that somebody else has the address.
-- name: GuessChallenge :one
WITH guessed AS (
    UPDATE challenges
    SET attempts = challenges.attempts + 1
    FROM mails m
    WHERE m.id = @id
      AND challenges.user_id = m.user_id
      AND challenges.purpose = @purpose
      AND (challenges.purpose = m.kind AND m.kind = 'verify' OR coalesce(challenges.asked_as, challenges.id) = m.id)
      AND redeemed_at IS NULL
      AND challenges.expires_at > now()
      AND challenges.attempts < 5
    RETURNING challenges.id, challenges.user_id, token_version, email
), as_much AS (
    UPDATE mails
    SET attempts = mails.attempts
    WHERE mails.id = @id
      AND NOT EXISTS (SELECT FROM guessed)
)
SELECT guessed.id AS challenge, u.id, u.username_key, guessed.email
FROM guessed
JOIN users u ON u.id = guessed.user_id
WHERE u.disabled_at IS NULL
  AND (guessed.token_version IS NULL OR guessed.token_version = u.token_version);

-- TakeBackGuess gives back a guess that was right, and could not be redeemed yet.
-- name: TakeBackGuess :exec
UPDATE challenges
SET attempts = attempts - 1
WHERE id = @id
  AND attempts > 0
  AND redeemed_at IS NULL;

-- ResetPassword redeems a challenge for another password. Of many callers at once, one does. It
-- compares all that the challenge is bound to: the user's version, and the address, which must be
-- that of the user still, and verified. The user is locked first, as by whoever bans or deletes the
-- user.
-- name: ResetPassword :one
WITH found AS (
    SELECT c.id, u.id AS user_id
    FROM challenges c
    JOIN users u ON u.id = c.user_id
    WHERE c.id = @id
      AND c.purpose = 'reset'
      AND c.expires_at > now()
      AND u.token_version = c.token_version
      AND u.disabled_at IS NULL
      AND u.email_key = c.email_key
      AND u.email_verified_at IS NOT NULL
    FOR NO KEY UPDATE OF u
), redeemed AS (
    UPDATE challenges
    SET redeemed_at = now()
    FROM found
    WHERE challenges.id = found.id
      AND challenges.redeemed_at IS NULL
    RETURNING found.user_id
), u AS (
    UPDATE users
    SET password_hash        = @password_hash,
        password_removed_at  = NULL,
        must_change_password = false,
        password_expires_at  = NULL,
        token_version        = token_version + 1,
        updated_at           = now()
    FROM redeemed
    WHERE users.id = redeemed.user_id
    RETURNING users.id
)
SELECT accounts.*
FROM u
CROSS JOIN LATERAL account_of(u.id) AS accounts
CROSS JOIN record_event(@event::jsonb, u.id)
CROSS JOIN LATERAL end_sessions(u.id, '00000000-0000-0000-0000-000000000000', 'password');

-- PruneChallenges deletes some of the challenges that expired longest ago.
-- name: PruneChallenges :execrows
DELETE FROM challenges
WHERE id = ANY (ARRAY(
    SELECT x.id
    FROM challenges x
    WHERE x.expires_at < now() - make_interval(secs => @older_than_seconds)
    ORDER BY x.expires_at
    LIMIT @max_rows
    FOR UPDATE SKIP LOCKED
));
