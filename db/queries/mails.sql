-- BeginMail counts a try to send a mail.
-- name: BeginMail :one
UPDATE mails
SET attempts = attempts + 1
WHERE id = @id
  AND done_at IS NULL
RETURNING kind, user_id, sealed, created_at, attempts, (admitted_at IS NOT NULL)::boolean AS admitted,
          (expires_at <= now())::boolean AS expired;

-- name: AdmitMail :execrows
UPDATE mails
SET admitted_at = coalesce(admitted_at, now()),
    user_id     = coalesce(user_id, (SELECT u.id FROM users u WHERE u.id = sqlc.narg('user_id')::uuid))
WHERE mails.id = @id
  AND done_at IS NULL;

-- FailMail notes what was wrong with a try, after which another one comes.
-- name: FailMail :execrows
UPDATE mails
SET problem = @problem
WHERE id = @id
  AND done_at IS NULL;

-- SettleMail is the end of a mail. What was in it is forgotten. The user is the one for whom it
-- turned out to be, for the log of mails.
-- name: SettleMail :one
WITH m AS (
    UPDATE mails
    SET outcome = @outcome,
        problem = sqlc.narg('problem'),
        user_id = coalesce(user_id, (SELECT u.id FROM users u WHERE u.id = sqlc.narg('user_id')::uuid)),
        sealed  = NULL,
        done_at = now()
    WHERE mails.id = @id
      AND done_at IS NULL
    RETURNING user_id, created_at
)
SELECT extract(epoch FROM now() - m.created_at)::double precision AS waited_seconds,
       CASE WHEN sqlc.narg('event')::text IS NOT NULL THEN record_event(sqlc.narg('event')::text::jsonb, m.user_id) END AS event
FROM m;

-- UserByLogin finds who has a username, or a verified address, which are the keys of one user.
-- name: UserByLogin :one
SELECT accounts.*
FROM accounts
WHERE id = (
    SELECT u.id FROM users u WHERE u.username_key = @username_key
    UNION ALL
    SELECT l.user_id FROM login_keys l WHERE l.key = @address_key
    LIMIT 1
);

-- name: MailsOfUser :many
SELECT id, kind, created_at, expires_at, attempts, outcome, problem, done_at
FROM mails
WHERE user_id = @user_id
ORDER BY created_at DESC, id DESC
LIMIT @max_rows;

-- ExpireMails gives up mails that are of no use any more, and whose jobs are lost. The event of each
-- is about the kind of the mail and the user whose it is.
-- name: ExpireMails :many
WITH ended AS (
    UPDATE mails
    SET outcome = @outcome, problem = @problem, sealed = NULL, done_at = now()
    WHERE id = ANY (ARRAY(
        SELECT x.id
        FROM mails x
        WHERE x.done_at IS NULL
          AND x.expires_at < now() - make_interval(secs => @older_than_seconds)
        ORDER BY x.expires_at
        LIMIT @max_rows
        FOR UPDATE SKIP LOCKED
    ))
    RETURNING kind, user_id
)
SELECT ended.kind, record_event(@event::jsonb || jsonb_build_object('target', ended.kind), ended.user_id) AS event
FROM ended;

-- PruneMails deletes some of the mails that were done longest ago.
-- name: PruneMails :execrows
DELETE FROM mails
WHERE id = ANY (ARRAY(
    SELECT x.id
    FROM mails x
    WHERE x.done_at < now() - make_interval(secs => @older_than_seconds)
    ORDER BY x.done_at
    LIMIT @max_rows
    FOR UPDATE SKIP LOCKED
));
