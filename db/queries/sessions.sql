-- StartSession finds no user where it has changed since its password was read. The lock makes the logins of one user
-- take turns; those of others go on. Of more sessions than a user may have, those that were used longest ago end. Nor does
-- it find one for a client that was disabled meanwhile, and who disables a client waits for it.
-- name: StartSession :execrows
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
        ORDER BY s.last_used_at DESC, s.id DESC
        OFFSET @max_others::int
    )
), started AS (
    INSERT INTO sessions (id, user_id, salt, idle_expires_at, expires_at, client_address, user_agent, scope, client_id)
    SELECT @id, u.id, @salt, now() + make_interval(secs => @idle_seconds), now() + make_interval(secs => @absolute_seconds),
           @client_address, @user_agent, sqlc.narg('scope'), sqlc.narg('client_id')::text
    FROM u
    RETURNING sessions.user_id
)
SELECT record_event(@event::jsonb, started.user_id)
FROM started;

-- name: SessionByID :one
SELECT s.salt, s.counter, s.rotated_at, s.idle_expires_at, s.expires_at, s.ended_at, s.scope, now()::timestamptz AS now,
       u.id AS user_id, u.username, u.username_key, u.disabled_at, u.token_version, u.created_at, u.updated_at, u.must_change_password,
       u.password_expires_at, r.roles::text[] AS roles, r.permissions::text[] AS permissions,
       s.client_id, c.grant_types AS client_grant_types, c.scope AS client_scope
FROM sessions s
JOIN users u ON u.id = s.user_id
JOIN user_rights r ON r.user_id = s.user_id
LEFT JOIN clients c ON c.client_id = s.client_id
WHERE s.id = @id;

-- RotateSession is a compare-and-set: of many uses of one refresh token at once, one moves the counter.
-- name: RotateSession :execrows
WITH rotated AS (
    UPDATE sessions
    SET counter         = counter + 1,
        rotated_at      = now(),
        last_used_at    = now(),
        idle_expires_at = least(now() + make_interval(secs => @idle_seconds), expires_at)
    WHERE id = @id
      AND counter = @counter
      AND ended_at IS NULL
    RETURNING user_id
)
SELECT record_event(@event::jsonb, rotated.user_id)
FROM rotated;

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

-- name: EndSessions :one
WITH ended AS (
    UPDATE sessions
    SET ended_at = now(), end_reason = @reason::text
    WHERE sessions.user_id = @user_id
      AND sessions.id <> @keep
      AND sessions.ended_at IS NULL
    RETURNING sessions.id
)
SELECT (SELECT count(*) FROM ended) AS ended, record_event(@event::jsonb, @user_id) AS event;

-- PruneSessions deletes some of those that ended or expired longest ago; replicas that prune at once share the work.
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

-- ListSessions shows what can still be used, the newest first.
-- name: ListSessions :many
SELECT id, created_at, last_used_at, idle_expires_at, expires_at, client_address, user_agent
FROM sessions
WHERE user_id = @user_id
  AND id < @before
  AND ended_at IS NULL
  AND idle_expires_at > now()
  AND expires_at > now()
ORDER BY id DESC
LIMIT @max_rows;

-- ChangePassword is SetPassword by the user: it finds none who has changed since the old password was read, and
-- leaves the session that asks, if that is not over, with its refresh token used.
-- name: ChangePassword :execrows
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
    SET counter         = counter + 1,
        rotated_at      = now(),
        last_used_at    = now(),
        idle_expires_at = least(now() + make_interval(secs => @idle_seconds), expires_at)
    FROM u
    WHERE sessions.id = @session_id
)
SELECT record_event(@event::jsonb, u.id)
FROM u
CROSS JOIN LATERAL end_sessions(u.id, @session_id, 'password');
