-- AskForAddress queues the mail by which a user proves an address. The address is stored unless the
-- user has one that is verified: that stays until the other one is proved.
--
-- What proves another address is void from then on, also if its mail is sent later: the challenge
-- that takes its place is good for nothing, and older than that of the queued mail alone. Whether a
-- code of one's own is still good would tell else whether somebody has the address.
-- name: AskForAddress :execrows
WITH u AS (
    UPDATE users
    SET email      = CASE WHEN email_verified_at IS NULL THEN @email::text ELSE email END,
        email_key  = CASE WHEN email_verified_at IS NULL THEN @email_key::text ELSE email_key END,
        updated_at = now()
    WHERE users.id = @user_id
      AND users.token_version = @token_version
      AND users.disabled_at IS NULL
    RETURNING users.id, users.token_version
), voided AS (
    INSERT INTO challenges AS c (id, purpose, user_id, token_version, email, email_key, created_at, expires_at)
    SELECT gen_random_uuid(), 'verify', u.id, u.token_version, @email::text, @email_key::text,
           now() - interval '1 microsecond', now()
    FROM u
    ON CONFLICT (user_id, purpose, (CASE WHEN purpose = 'undo' THEN id ELSE '00000000-0000-0000-0000-000000000000'::uuid END)) DO UPDATE
    SET id            = excluded.id,
        asked_as      = NULL,
        token_version = excluded.token_version,
        email         = excluded.email,
        email_key     = excluded.email_key,
        created_at    = excluded.created_at,
        expires_at    = excluded.expires_at,
        redeemed_at   = NULL
    WHERE c.email_key <> excluded.email_key
)
SELECT record_event(@event::jsonb, u.id)
FROM u;

-- ProveAddress redeems a challenge for its address, which becomes that of the user. Of many callers
-- at once, one does. The user is as the caller has read it, or else no challenge is found: the
-- event may have a mail to the address of before. If that was verified, its sessions and challenges
-- end, and no device is known: password_changed_at is what devices are bound to.
--
-- An account that has the address as its name, and has not proved it, gives it up first. Then the
-- trigger gives the key to the user. So the order of the two updates matters. A name that is another
-- address with the same key stays: strauß@ and strauss@ may be two mailboxes. Then the trigger
-- refuses.
-- name: ProveAddress :one
WITH found AS (
    SELECT c.id, c.email, c.email_key, u.id AS user_id, u.email_verified_at IS NOT NULL AS changes
    FROM challenges c
    JOIN users u ON u.id = c.user_id
    WHERE c.id = @id
      AND c.purpose = 'verify'
      AND c.expires_at > now()
      AND u.token_version = c.token_version
      AND u.disabled_at IS NULL
      AND u.email_key IS NOT DISTINCT FROM sqlc.narg('key_before')::text
      AND (u.email_verified_at IS NOT NULL) = @was_verified::boolean
    FOR NO KEY UPDATE OF u
), redeemed AS (
    UPDATE challenges
    SET redeemed_at = now()
    FROM found
    WHERE challenges.id = found.id
      AND challenges.redeemed_at IS NULL
    RETURNING found.user_id, found.email, found.email_key, found.changes
), displaced AS (
    UPDATE users
    SET username         = users.id::text,
        username_key     = users.id::text,
        username_address = NULL,
        disabled_at      = coalesce(disabled_at, now()),
        token_version    = token_version + 1,
        updated_at       = now()
    FROM redeemed
    JOIN login_keys l ON l.key = redeemed.email_key AND l.user_id <> redeemed.user_id AND l.kind = 'username'
    WHERE users.id = l.user_id
      AND split_part(users.username_key, '@', 1) = @own_local::text
    RETURNING users.id
), u AS (
    UPDATE users
    SET email               = redeemed.email,
        email_key           = redeemed.email_key,
        email_verified_at   = now(),
        verify_until        = NULL,
        token_version       = token_version + CASE WHEN redeemed.changes THEN 1 ELSE 0 END,
        password_changed_at = CASE WHEN redeemed.changes THEN now() ELSE password_changed_at END,
        updated_at          = now()
    FROM redeemed
    LEFT JOIN displaced ON true
    WHERE users.id = redeemed.user_id
    RETURNING users.id, redeemed.changes, displaced.id AS displaced
)
SELECT sqlc.embed(accounts),
       CASE WHEN u.displaced IS NOT NULL THEN record_event(@displacement::jsonb, u.displaced) END AS displacement
FROM u
CROSS JOIN LATERAL account_of(u.id) AS accounts
CROSS JOIN record_event(@event::jsonb, u.id)
CROSS JOIN LATERAL end_sessions(CASE WHEN u.changes THEN u.id END, @keep, 'password') AS own
CROSS JOIN LATERAL end_sessions(u.displaced, '00000000-0000-0000-0000-000000000000', 'disabled') AS others;

-- RemoveAddress takes the address of a user who is as the caller has read it. All is as if it had
-- been changed.
-- name: RemoveAddress :one
WITH u AS (
    UPDATE users
    SET email               = NULL,
        email_key           = NULL,
        email_verified_at   = NULL,
        verify_until        = NULL,
        token_version       = token_version + 1,
        password_changed_at = CASE WHEN email_verified_at IS NOT NULL THEN now() ELSE password_changed_at END,
        updated_at          = now()
    WHERE users.id = @user_id
      AND users.token_version = @token_version
      AND users.disabled_at IS NULL
      AND users.email_key = @key_before::text
      AND (users.email_verified_at IS NOT NULL) = @was_verified::boolean
    RETURNING users.id
)
SELECT accounts.*
FROM u
CROSS JOIN LATERAL account_of(u.id) AS accounts
CROSS JOIN record_event(@event::jsonb, u.id)
CROSS JOIN LATERAL end_sessions(u.id, @keep, 'password');

-- UndoAddress gives a user an address of before back. Nobody gets in from then on but by a mail to
-- it: the password expires, also if it was taken away, all sessions end, and no device is known.
--
-- Whoever has taken the account over may have changed the address several times, and has a link for
-- each of these too. So once a change was undone, no later one is that was there by then. Such a
-- challenge is kept for as long as theirs are good. The version is that of a user who was read
-- before, since a statement that waits for the row does not see what was redeemed meanwhile.
-- name: UndoAddress :one
WITH found AS (
    SELECT c.id, c.email, c.email_key, u.id AS user_id
    FROM challenges c
    JOIN users u ON u.id = c.user_id
    WHERE c.id = @id
      AND c.purpose = 'undo'
      AND c.expires_at > now()
      AND u.disabled_at IS NULL
      AND u.token_version = @token_version
      AND NOT EXISTS (
          SELECT FROM challenges o
          WHERE o.user_id = c.user_id
            AND o.purpose = 'undo'
            AND o.created_at < c.created_at
            AND o.redeemed_at >= c.created_at
      )
    FOR NO KEY UPDATE OF u
), redeemed AS (
    UPDATE challenges
    SET redeemed_at = now(),
        expires_at  = now() + interval '7 days'
    FROM found
    WHERE challenges.id = found.id
      AND challenges.redeemed_at IS NULL
    RETURNING found.user_id, found.email, found.email_key
), u AS (
    UPDATE users
    SET email                = redeemed.email,
        email_key            = redeemed.email_key,
        email_verified_at    = now(),
        verify_until         = NULL,
        must_change_password = true,
        password_expires_at  = now(),
        password_changed_at  = now(),
        password_removed_at  = NULL, -- or passkeys would do without one
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

-- HolderOfAddress finds who has verified an address.
-- name: HolderOfAddress :one
SELECT accounts.*
FROM accounts
WHERE id = (SELECT l.user_id FROM login_keys l WHERE l.key = @email_key AND l.kind = 'address');

-- AddressToProve finds the address that a user was asked to prove last.
-- name: AddressToProve :one
SELECT c.email, c.email_key
FROM challenges c
JOIN users u ON u.id = c.user_id
WHERE c.user_id = @user_id
  AND c.purpose = 'verify'
  AND c.redeemed_at IS NULL
  AND c.token_version = u.token_version;

-- UserOfMail finds for whom a mail of a kind is.
-- name: UserOfMail :one
SELECT coalesce(user_id, '00000000-0000-0000-0000-000000000000')::uuid AS user_id
FROM mails
WHERE id = @id
  AND kind = @kind;

-- FreeUnprovedNames gives accounts which nobody has proved in time their ids as names, for those
-- who delete them next: the names are free then, since nobody was ever known by them.
-- name: FreeUnprovedNames :many
WITH over AS (
    SELECT u.id
    FROM users u
    WHERE u.verify_until < now()
      AND NOT EXISTS (SELECT FROM sessions s WHERE s.user_id = u.id)
      AND NOT EXISTS (SELECT FROM user_roles g WHERE g.user_id = u.id)
    ORDER BY u.verify_until
    LIMIT @max_rows
    FOR UPDATE OF u SKIP LOCKED
)
UPDATE users
SET username = users.id::text, username_key = users.id::text, username_address = NULL
FROM over
WHERE users.id = over.id
RETURNING users.id;

-- name: DeleteUnproved :execrows
WITH gone AS (
    DELETE FROM users
    WHERE users.id = ANY (@ids::uuid[])
    RETURNING users.id
)
SELECT record_event(@event::jsonb, gone.id)
FROM gone;
