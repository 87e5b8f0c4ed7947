-- StartSession starts nothing if the user has changed since the password was read, or if the client
-- is disabled. The lock makes the logins of one user take turns; logins of others go on. Whoever
-- disables a client waits for it. If the user has too many sessions, those that were used longest
-- ago end. The sessions of apps that end with that of a browser do not count.
-- name: StartSession :one
WITH c AS (
    SELECT client_id
    FROM clients
    WHERE clients.client_id = sqlc.narg('client_id')::text
      AND clients.disabled_at IS NULL
    FOR SHARE
), u AS (
    SELECT id
    FROM users
    WHERE users.id = @user_id
      AND users.token_version = @token_version
      AND users.disabled_at IS NULL
      AND (sqlc.narg('client_id')::text IS NULL OR EXISTS (SELECT FROM c))
    FOR NO KEY UPDATE
), evicted AS (
    UPDATE sessions
    SET ended_at = now(), end_reason = 'evicted'
    WHERE id IN (
        SELECT s.id
        FROM sessions s
        JOIN u ON u.id = s.user_id
        WHERE s.ended_at IS NULL
          AND (s.parent_id IS NULL OR s.offline)
        ORDER BY s.last_used_at DESC, s.created_at DESC, s.id DESC
        OFFSET @max_others::int
    )
), started AS (
    INSERT INTO sessions (
        id, user_id, salt, idle_expires_at, expires_at, client_address, user_agent, scope, client_id,
        browser, idle_seconds, auth_time, amr, trusted
    )
    SELECT @id, u.id, @salt, now() + make_interval(secs => @idle_seconds), now() + make_interval(secs => @absolute_seconds),
           @client_address, @user_agent, sqlc.narg('scope'), sqlc.narg('client_id')::text,
           sqlc.narg('browser_idle_seconds')::integer IS NOT NULL, sqlc.narg('browser_idle_seconds')::integer, now(), @amr::text[], @trusted
    FROM u
    RETURNING sessions.user_id
)
SELECT now()::timestamptz AS at
FROM started
CROSS JOIN record_event(@event::jsonb, started.user_id);

-- name: SessionByID :one
SELECT sqlc.embed(accounts), s.salt, s.counter, s.rotated_at, s.rotated_network, s.repeated_elsewhere_at,
       s.idle_expires_at, s.expires_at, s.ended_at, s.scope, now()::timestamptz AS now,
       s.browser, s.idle_seconds, coalesce(s.auth_time, s.created_at)::timestamptz AS auth_time, s.amr,
       s.openid, s.claims, s.offline, s.resource, s.trusted,
       s.client_id, c.grant_types AS client_grant_types, c.scope AS client_scope,
       c.required_role AS client_required_role,
       coalesce(c.first_party, false)::boolean AS client_first_party,
       c.id_token_algorithm AS client_id_token_algorithm, c.audiences AS client_audiences
FROM sessions s
JOIN accounts ON accounts.id = s.user_id
LEFT JOIN clients c ON c.client_id = s.client_id
WHERE s.id = @id;

-- RotateSession is a compare-and-set: of many uses of one refresh token at once, one moves the
-- counter. The grace counts from that moment. It may be a while after the transaction began, which
-- can wait for others.
-- name: RotateSession :execrows
WITH rotated AS (
    UPDATE sessions
    SET counter         = counter + 1,
        rotated_at      = clock_timestamp(),
        rotated_network = sqlc.narg('network')::cidr,
        repeats         = 0,
        last_used_at    = now(),
        idle_expires_at = least(now() + make_interval(secs => @idle_seconds), expires_at)
    WHERE id = @id
      AND counter = @counter
      AND ended_at IS NULL
    RETURNING user_id
)
SELECT record_event(@event::jsonb, rotated.user_id)
FROM rotated;

-- RepeatSession notes that the refresh token before the current one is answered again. For another
-- network that is done once, and not at two rotations in a row. Of many requests at once, one finds
-- it allowed. The audit log has the first few repeats, so that a client in a loop does not fill it.
-- name: RepeatSession :execrows
WITH repeated AS (
    UPDATE sessions
    SET repeats               = repeats + 1,
        repeated_elsewhere_at = CASE WHEN @elsewhere::boolean THEN counter ELSE repeated_elsewhere_at END
    WHERE id = @id
      AND counter = @counter
      AND ended_at IS NULL
      AND (NOT @elsewhere::boolean OR repeated_elsewhere_at < counter - 1)
    RETURNING user_id, repeats
)
SELECT CASE WHEN @elsewhere::boolean OR repeated.repeats <= @most_told::integer THEN record_event(@event::jsonb, repeated.user_id) END
FROM repeated;

-- name: EndSession :execrows
WITH ended AS (
    UPDATE sessions
    SET ended_at = now(), end_reason = @reason::text
    WHERE sessions.id = @id
      AND sessions.user_id = @user_id
      AND sessions.ended_at IS NULL
    RETURNING sessions.id
)
SELECT record_event(@event::jsonb, @user_id)
FROM ended;

-- EndSessions ends all sessions within a reach but one. If that one is of an app, it goes on
-- without the browser's session through which it was started.
-- name: EndSessions :one
WITH kept AS (
    UPDATE sessions
    SET parent_id = NULL
    WHERE sessions.id = @keep
      AND sessions.user_id = @user_id
      AND @all_clients::boolean
      AND sessions.parent_id IS NOT NULL
), ended AS (
    UPDATE sessions
    SET ended_at = now(), end_reason = @reason::text
    WHERE sessions.user_id = @user_id
      AND sessions.id <> @keep
      AND (@all_clients::boolean OR sessions.client_id = @client_id::text)
      AND sessions.ended_at IS NULL
    RETURNING sessions.id
)
SELECT count(*) AS ended, CASE WHEN count(*) > 0 THEN record_event(@event::jsonb, @user_id) END AS event
FROM ended;

-- PruneSessions deletes some of the sessions that ended or expired longest ago. Replicas that prune
-- at once share the work.
-- name: PruneSessions :execrows
DELETE FROM sessions
WHERE id = ANY (ARRAY(
    SELECT e.id
    FROM sessions e
    WHERE e.ended_at < now() - make_interval(secs => @older_than_seconds)
    ORDER BY e.ended_at
    LIMIT @max_rows
    FOR UPDATE SKIP LOCKED
) || ARRAY(
    SELECT x.id
    FROM sessions x
    WHERE x.expires_at < now() - make_interval(secs => @older_than_seconds)
    ORDER BY x.expires_at
    LIMIT @max_rows
    FOR UPDATE SKIP LOCKED
));

-- ListSessions shows the sessions that can still be used, the newest first. It sorts all live
-- sessions of a user. There are MAX_SESSIONS at most, and those of apps that were started through
-- one of them.
-- name: ListSessions :many
SELECT s.id, s.created_at, s.last_used_at, s.idle_expires_at, s.expires_at, s.client_address, s.user_agent,
       s.browser, s.parent_id, s.client_id, c.name AS client_name
FROM sessions s
LEFT JOIN clients c ON c.client_id = s.client_id
WHERE s.user_id = @user_id
  AND (@all_clients::boolean OR s.client_id = @client_id::text)
  AND (sqlc.narg('before')::uuid IS NULL OR (s.created_at, s.id) < (
      SELECT b.created_at, b.id
      FROM sessions b
      WHERE b.id = sqlc.narg('before')::uuid
        AND b.user_id = @user_id
  ))
  AND s.ended_at IS NULL
  AND s.idle_expires_at > now()
  AND s.expires_at > now()
ORDER BY s.created_at DESC, s.id DESC
LIMIT @max_rows;

-- ListLogins is ListSessions for people: the sessions of apps are told with that of the browser
-- through which they were started. If that is over, they are rows of their own.
-- name: ListLogins :many
SELECT s.id, s.created_at, s.last_used_at, s.idle_expires_at, s.expires_at, s.client_address, s.user_agent,
       s.browser, s.parent_id, s.client_id, c.name AS client_name,
       ARRAY(
           SELECT DISTINCT ac.name
           FROM sessions a
           JOIN clients ac ON ac.client_id = a.client_id
           WHERE a.user_id = @user_id
             AND a.parent_id = s.id
             AND a.ended_at IS NULL
             AND a.idle_expires_at > now()
             AND a.expires_at > now()
           ORDER BY ac.name
       )::text[] AS apps
FROM sessions s
LEFT JOIN clients c ON c.client_id = s.client_id
WHERE s.user_id = @user_id
  AND (@all_clients::boolean OR s.client_id = @client_id::text)
  AND (sqlc.narg('before')::uuid IS NULL OR (s.created_at, s.id) < (
      SELECT b.created_at, b.id
      FROM sessions b
      WHERE b.id = sqlc.narg('before')::uuid
        AND b.user_id = @user_id
  ))
  AND s.ended_at IS NULL
  AND s.idle_expires_at > now()
  AND s.expires_at > now()
  AND NOT EXISTS (
      SELECT FROM sessions p
      WHERE p.id = s.parent_id
        AND p.ended_at IS NULL
        AND p.idle_expires_at > now()
        AND p.expires_at > now()
  )
ORDER BY s.created_at DESC, s.id DESC
LIMIT @max_rows;

-- ChangePassword is SetPassword by the user. It finds no user who has changed since the old
-- password was read. The session that asks goes on if it is not over, with another salt: so none of
-- its refresh tokens is known any more. Its counter moves on as well, so that a refresh which is
-- under way finds that it came second. If it is one of an app, it goes on without the browser's
-- session through which it was started: that one ends with the others.
--
-- It returns what the new tokens are made of. A look afterwards could find the version of a later
-- change, and a token with that version would outlive the change.
-- name: ChangePassword :one
WITH u AS (
    UPDATE users
    SET password_hash        = @password_hash,
        must_change_password = false,
        password_expires_at  = NULL,
        token_version        = token_version + 1,
        updated_at           = now()
    WHERE users.id = @user_id
      AND users.token_version = @token_version
      AND users.disabled_at IS NULL
      AND EXISTS (
          SELECT 1
          FROM sessions s
          WHERE s.id = @session_id
            AND s.user_id = users.id
            AND s.ended_at IS NULL
            AND s.idle_expires_at > now()
            AND s.expires_at > now()
      )
    RETURNING users.id
), kept AS (
    UPDATE sessions
    SET salt            = @salt,
        counter         = counter + 1,
        parent_id       = NULL,
        rotated_at      = now(),
        last_used_at    = now(),
        idle_expires_at = least(now() + make_interval(secs => coalesce(idle_seconds, @idle_seconds)), expires_at)
    FROM u
    WHERE sessions.id = @session_id
    RETURNING sessions.counter, sessions.expires_at
)
SELECT sqlc.embed(accounts), kept.counter, kept.expires_at, now()::timestamptz AS now
FROM u
CROSS JOIN kept
CROSS JOIN LATERAL account_of(u.id) AS accounts
CROSS JOIN record_event(@event::jsonb, u.id)
CROSS JOIN LATERAL end_sessions(u.id, @session_id, 'password');

-- RenewBrowserSession notes that the user of a browser's session has proved anew who it is. Earlier
-- cookies of the session are no good any more. Of two renewals at once, one finds the session as it
-- was. Without "stay logged in" the session may end earlier than before, and its apps with it.
-- name: RenewBrowserSession :execrows
WITH u AS (
    SELECT id
    FROM users
    WHERE users.id = @user_id
      AND users.token_version = @token_version
      AND users.disabled_at IS NULL
    FOR NO KEY UPDATE
), renewed AS (
    UPDATE sessions
    SET counter         = counter + 1,
        auth_time       = now(),
        amr             = @amr::text[],
        trusted         = @trusted,
        last_used_at    = now(),
        client_address  = @client_address,
        user_agent      = @user_agent,
        idle_seconds    = @idle_seconds::integer,
        idle_expires_at = now() + make_interval(secs => @idle_seconds::integer),
        expires_at      = now() + make_interval(secs => @absolute_seconds)
    FROM u
    WHERE sessions.id = @id
      AND sessions.user_id = u.id
      AND sessions.counter = @counter
      AND sessions.browser
      AND sessions.ended_at IS NULL
    RETURNING sessions.id, sessions.user_id, sessions.expires_at
), children AS (
    UPDATE sessions
    SET expires_at      = renewed.expires_at,
        idle_expires_at = least(idle_expires_at, renewed.expires_at)
    FROM renewed
    WHERE sessions.user_id = renewed.user_id
      AND sessions.parent_id = renewed.id
      AND sessions.ended_at IS NULL
      AND NOT sessions.offline
      AND sessions.expires_at > renewed.expires_at
)
SELECT record_event(@event::jsonb, renewed.user_id)
FROM renewed;

-- NoteSessionUses moves the last use of browsers' sessions to now. It returns those that live, and
-- that somebody else has locked: it waits for none of many. A session that has idled out does not
-- live again: replicas remember that it is over, and its user could not see and end it in between.
-- name: NoteSessionUses :many
WITH free AS (
    SELECT s.id
    FROM sessions s
    WHERE s.id = ANY (@ids::uuid[])
      AND s.browser
      AND s.ended_at IS NULL
      AND s.idle_expires_at > now()
    ORDER BY s.id
    FOR NO KEY UPDATE SKIP LOCKED
), moved AS (
    UPDATE sessions
    SET last_used_at    = now(),
        idle_expires_at = least(now() + make_interval(secs => idle_seconds), expires_at)
    WHERE sessions.id IN (SELECT free.id FROM free)
)
SELECT l.id
FROM sessions l
WHERE l.id = ANY (@ids::uuid[])
  AND l.browser
  AND l.ended_at IS NULL
  AND l.idle_expires_at > now()
  AND l.id NOT IN (SELECT free.id FROM free);

-- NoteSessionUse is NoteSessionUses for one session, and waits for it.
-- name: NoteSessionUse :exec
UPDATE sessions
SET last_used_at    = now(),
    idle_expires_at = least(now() + make_interval(secs => idle_seconds), expires_at)
WHERE id = @id
  AND browser
  AND ended_at IS NULL
  AND idle_expires_at > now();
