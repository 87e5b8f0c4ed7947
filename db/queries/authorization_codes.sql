-- InsertCode stores a code if the browser's session still lives, and neither its user nor the
-- client has changed: what the user has allowed was compared with the client of before. Whoever
-- changes the client waits for the lock, and then voids the code if need be. So does whoever takes
-- back what an app that asks was allowed: either the code is voided, or there is none.
-- name: InsertCode :execrows
WITH allowed AS (
    SELECT g.client_id
    FROM consents g
    JOIN sessions s ON s.user_id = g.user_id
    WHERE s.id = @session_id
      AND g.client_id = @client_id
      AND g.words @> @asks::text[]
    FOR SHARE OF g
), live AS (
    SELECT p.id, p.user_id, p.auth_time, p.amr
    FROM sessions p
    JOIN users u ON u.id = p.user_id AND u.token_version = @token_version AND u.disabled_at IS NULL
    JOIN clients c ON c.client_id = @client_id AND c.token_version = @client_version
    WHERE p.id = @session_id
      AND p.browser
      AND p.ended_at IS NULL
      AND (NOT c.asks OR EXISTS (SELECT FROM allowed))
    FOR SHARE OF c
), stored AS (
    INSERT INTO authorization_codes (
        digest, session_id, user_id, token_version, client_id, redirect_uri, challenge, scope, openid,
        claims, resource, nonce, auth_time, amr, expires_at
    )
    SELECT @digest, live.id, live.user_id, @token_version, @client_id::text, @redirect_uri::text,
           sqlc.narg('challenge'), sqlc.narg('scope'), sqlc.narg('openid'), sqlc.narg('claims'),
           sqlc.narg('resource'), sqlc.narg('nonce'), live.auth_time, live.amr,
           now() + make_interval(secs => @lifetime_seconds)
    FROM live
    RETURNING user_id
)
SELECT record_event(@event::jsonb, stored.user_id)
FROM stored;

-- InsertProvedCode is InsertCode for a user who has proved without a browser who it is. NULL of the
-- client: the built-in one.
-- name: InsertProvedCode :execrows
WITH c AS (
    SELECT client_id
    FROM clients
    WHERE clients.client_id = sqlc.narg('client_id')::text
      AND clients.token_version = @client_version
      AND clients.first_party
      AND clients.disabled_at IS NULL
    FOR SHARE
), stored AS (
    INSERT INTO authorization_codes (
        digest, user_id, token_version, client_id, challenge, scope, openid, claims, resource, nonce,
        auth_time, amr, expires_at
    )
    SELECT @digest, u.id, u.token_version, sqlc.narg('client_id')::text, @challenge::text,
           sqlc.narg('scope'), sqlc.narg('openid'), sqlc.narg('claims'), sqlc.narg('resource'),
           sqlc.narg('nonce'), now(), @amr::text[],
           now() + make_interval(secs => @lifetime_seconds)
    FROM users u
    WHERE u.id = @user_id
      AND u.token_version = @token_version
      AND u.disabled_at IS NULL
      AND (sqlc.narg('client_id')::text IS NULL OR EXISTS (SELECT FROM c))
    RETURNING user_id
)
SELECT record_event(@event::jsonb, stored.user_id)
FROM stored;

-- RedeemCode is the one place where a code of a browser becomes a session. It compares all that the
-- code is bound to: client, redirect URI, challenge, resources, browser's session, and the version
-- of the user. Of many callers at once, one finds that the code was not redeemed. Whoever ends the
-- browser's session, or bans the user or the client, waits for the locks, and then ends the new
-- session too. The locks are taken in the order in which all others take them: client, user,
-- session. The client may have come to demand a role since the code was made.
--
-- The new session ends no later than its parent, unless it is offline. If the app then has too many
-- sessions through this browser, or the user too many that are offline, those that were used
-- longest ago end.
-- name: RedeemCode :one
WITH found AS (
    SELECT a.digest, p.expires_at, p.trusted
    FROM authorization_codes a
    JOIN sessions p ON p.id = a.session_id AND p.ended_at IS NULL AND p.expires_at > now()
    JOIN users u ON u.id = a.user_id AND u.token_version = a.token_version AND u.disabled_at IS NULL
    JOIN clients c ON c.client_id = a.client_id AND c.disabled_at IS NULL
    WHERE a.digest = @digest
      AND (c.required_role IS NULL OR EXISTS (
          SELECT FROM user_roles r WHERE r.user_id = u.id AND r.role_name = c.required_role
      ))
    FOR SHARE OF c, u, p
), redeemed AS (
    UPDATE authorization_codes a
    SET redeemed_at = now(), started_id = @id
    FROM found
    WHERE a.digest = found.digest
      AND a.client_id = @client_id::text
      AND a.redirect_uri = @redirect_uri::text
      AND a.challenge IS NOT DISTINCT FROM sqlc.narg('challenge')::text
      AND @resources::text[] <@ string_to_array(coalesce(a.resource, @default_resource::text), ' ')
      AND a.redeemed_at IS NULL
      AND a.expires_at > now()
    RETURNING a.session_id, a.user_id, a.client_id, a.scope, a.openid, a.claims, a.resource, a.nonce, a.auth_time, a.amr,
              found.expires_at AS parent_expires_at, found.trusted,
              coalesce(' ' || a.openid || ' ' LIKE '% offline_access %', false) AS offline
), evicted AS (
    UPDATE sessions
    SET ended_at = now(), end_reason = 'evicted'
    WHERE id IN (
        (
            SELECT s.id
            FROM sessions s
            JOIN redeemed r ON r.user_id = s.user_id AND r.session_id = s.parent_id AND r.client_id = s.client_id
            WHERE s.ended_at IS NULL
            ORDER BY s.last_used_at DESC, s.created_at DESC, s.id DESC
            OFFSET @max_others::int
        ) UNION ALL (
            SELECT s.id
            FROM sessions s
            JOIN redeemed r ON r.user_id = s.user_id AND r.offline
            WHERE s.ended_at IS NULL
              AND (s.parent_id IS NULL OR s.offline)
              AND s.id <> r.session_id
            ORDER BY s.last_used_at DESC, s.created_at DESC, s.id DESC
            OFFSET @max_roots::int
        )
    )
), started AS (
    INSERT INTO sessions (
        id, user_id, salt, idle_expires_at, expires_at, client_address, user_agent, scope, client_id,
        parent_id, offline, auth_time, amr, openid, claims, resource, trusted
    )
    SELECT @id, r.user_id, @salt,
           least(now() + make_interval(secs => @idle_seconds), ends.at), ends.at,
           @client_address, @user_agent, r.scope, r.client_id,
           r.session_id, r.offline, r.auth_time, r.amr, r.openid, r.claims, r.resource, r.trusted
    FROM redeemed r
    CROSS JOIN LATERAL (
        SELECT CASE WHEN r.offline THEN now() + make_interval(secs => @absolute_seconds)
                    ELSE least(now() + make_interval(secs => @absolute_seconds), r.parent_expires_at) END AS at
    ) ends
    RETURNING id, expires_at
)
SELECT sqlc.embed(accounts), redeemed.scope, redeemed.openid, redeemed.claims, redeemed.resource, redeemed.nonce,
       redeemed.auth_time, redeemed.amr, started.expires_at, now()::timestamptz AS now,
       record_event(@event::jsonb, redeemed.user_id) AS event
FROM redeemed
CROSS JOIN started
JOIN accounts ON accounts.id = redeemed.user_id;

-- RedeemProvedCode is RedeemCode for a code without a browser. It compares the client, the
-- challenge, the resources and the version of the user. The session has no parent, and counts like
-- that of a login (StartSession): the lock makes those of one user take turns.
-- name: RedeemProvedCode :one
WITH c AS (
    SELECT client_id, required_role
    FROM clients
    WHERE clients.client_id = sqlc.narg('client_id')::text
      AND clients.first_party
      AND clients.disabled_at IS NULL
    FOR SHARE
), found AS (
    SELECT a.digest
    FROM authorization_codes a
    JOIN users u ON u.id = a.user_id AND u.token_version = a.token_version AND u.disabled_at IS NULL
    WHERE a.digest = @digest
      AND a.session_id IS NULL
      AND (sqlc.narg('client_id')::text IS NULL OR EXISTS (
          SELECT FROM c
          WHERE c.required_role IS NULL OR EXISTS (
              SELECT FROM user_roles r WHERE r.user_id = u.id AND r.role_name = c.required_role
          )
      ))
    FOR NO KEY UPDATE OF u
), redeemed AS (
    UPDATE authorization_codes a
    SET redeemed_at = now(), started_id = @id
    FROM found
    WHERE a.digest = found.digest
      AND a.client_id IS NOT DISTINCT FROM sqlc.narg('client_id')::text
      AND a.challenge = @challenge::text
      AND @resources::text[] <@ string_to_array(coalesce(a.resource, @default_resource::text), ' ')
      AND a.redeemed_at IS NULL
      AND a.expires_at > now()
    RETURNING a.user_id, a.client_id, a.scope, a.openid, a.claims, a.resource, a.nonce, a.auth_time, a.amr
), evicted AS (
    UPDATE sessions
    SET ended_at = now(), end_reason = 'evicted'
    WHERE id IN (
        SELECT s.id
        FROM sessions s
        JOIN redeemed r ON r.user_id = s.user_id
        WHERE s.ended_at IS NULL
          AND (s.parent_id IS NULL OR s.offline)
        ORDER BY s.last_used_at DESC, s.created_at DESC, s.id DESC
        OFFSET @max_others::int
    )
), started AS (
    INSERT INTO sessions (
        id, user_id, salt, idle_expires_at, expires_at, client_address, user_agent, scope, client_id,
        auth_time, amr, openid, claims, resource
    )
    SELECT @id, r.user_id, @salt, now() + make_interval(secs => @idle_seconds),
           now() + make_interval(secs => @absolute_seconds), @client_address, @user_agent, r.scope,
           r.client_id, r.auth_time, r.amr, r.openid, r.claims, r.resource
    FROM redeemed r
    RETURNING id, expires_at
)
SELECT sqlc.embed(accounts), redeemed.scope, redeemed.openid, redeemed.claims, redeemed.resource, redeemed.nonce,
       redeemed.auth_time, redeemed.amr, started.expires_at, now()::timestamptz AS now,
       record_event(@event::jsonb, redeemed.user_id) AS event
FROM redeemed
CROSS JOIN started
JOIN accounts ON accounts.id = redeemed.user_id;

-- CodeByDigest finds a code that could not be redeemed.
-- name: CodeByDigest :one
SELECT started_id, user_id,
       (@resources::text[] <@ string_to_array(coalesce(resource, @default_resource::text), ' '))::boolean AS has_resources
FROM authorization_codes
WHERE digest = @digest
  AND client_id IS NOT DISTINCT FROM sqlc.narg('client_id')::text;

-- PruneCodes deletes some of the codes that expired longest ago. A code is kept for a while after
-- it was redeemed, so that a second use is known for one.
-- name: PruneCodes :execrows
DELETE FROM authorization_codes
WHERE digest = ANY (ARRAY(
    SELECT x.digest
    FROM authorization_codes x
    WHERE x.expires_at < now() - make_interval(secs => @older_than_seconds)
    ORDER BY x.expires_at
    LIMIT @max_rows
    FOR UPDATE SKIP LOCKED
));

-- name: ConsentTo :one
SELECT words
FROM consents
WHERE user_id = @user_id
  AND client_id = @client_id;

-- PutConsent keeps what the user allowed before, as long as all of it fits into the row.
-- name: PutConsent :exec
WITH put AS (
    INSERT INTO consents AS c (user_id, client_id, words)
    VALUES (@user_id, @client_id, @words::text[])
    ON CONFLICT ON CONSTRAINT consents_pkey DO UPDATE
    SET words = (
            SELECT CASE WHEN octet_length(together::text) <= 8192 THEN together ELSE excluded.words END
            FROM (SELECT array_agg(DISTINCT w ORDER BY w) AS together FROM unnest(c.words || excluded.words) w) a
        ),
        granted_at = now()
)
SELECT record_event(@event::jsonb, @user_id);

-- DeleteConsent waits for a code that is made by the consent. VoidCodes is a statement of its own
-- behind it, and sees that code.
-- name: DeleteConsent :execrows
DELETE FROM consents
WHERE user_id = @user_id
  AND client_id = @client_id;

-- VoidCodes waits for a code that is redeemed. EndConsentedSessions is a statement of its own
-- behind it, and sees the session that the code has started.
-- name: VoidCodes :exec
DELETE FROM authorization_codes
WHERE user_id = @user_id
  AND client_id = @client_id::text
  AND redeemed_at IS NULL;

-- name: EndConsentedSessions :exec
WITH ended AS (
    UPDATE sessions
    SET ended_at = now(), end_reason = @reason::text
    WHERE sessions.user_id = @user_id
      AND sessions.client_id = @client_id::text
      AND sessions.ended_at IS NULL
)
SELECT record_event(@event::jsonb, @user_id);
