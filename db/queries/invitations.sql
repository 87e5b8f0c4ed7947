-- InvitedUser finds who was invited at an address, and has not accepted yet: the password is still
-- the one that was over when the account was made. An operator who has set another one since has
-- ended the invitation.
-- name: InvitedUser :one
SELECT accounts.*
FROM accounts
WHERE id = (
    SELECT i.user_id
    FROM invitations i
    JOIN users u ON u.id = i.user_id
    WHERE i.email_key = @email_key
      AND u.password_expires_at <= u.created_at
);

-- AddressIsTaken tells whether a key of a login is that of an account.
-- name: AddressIsTaken :one
SELECT EXISTS (SELECT FROM login_keys l WHERE l.key = @email_key);

-- PutInvitation takes the place of an invitation that has ended.
-- name: PutInvitation :exec
INSERT INTO invitations (user_id, email_key)
VALUES (@user_id, @email_key)
ON CONFLICT ON CONSTRAINT invitations_email_key_unique DO UPDATE
SET user_id = excluded.user_id, created_at = excluded.created_at;

-- RenewInvitation queues another mail for somebody who has not accepted yet.
-- name: RenewInvitation :exec
WITH i AS (
    UPDATE invitations
    SET created_at = now()
    WHERE user_id = @user_id
    RETURNING user_id
)
SELECT record_event(@event::jsonb, i.user_id)
FROM i;

-- AcceptInvitation redeems a challenge for the account of an invitation: its password, and its name
-- if there is one. Whoever does that reads the mails of the address, which counts as verified from
-- then on. Of many callers at once, one does. The user is locked first, as by whoever bans or
-- deletes the user.
-- name: AcceptInvitation :one
WITH found AS (
    SELECT c.id, u.id AS user_id
    FROM challenges c
    JOIN users u ON u.id = c.user_id
    JOIN invitations i ON i.user_id = u.id
    WHERE c.id = @id
      AND c.purpose = 'invite'
      AND c.expires_at > now()
      AND u.token_version = c.token_version
      AND u.disabled_at IS NULL
      AND u.email_key = c.email_key
      AND u.email_verified_at IS NULL
      AND u.password_expires_at <= u.created_at -- nobody has ended the invitation (see InvitedUser)
    FOR NO KEY UPDATE OF u
), redeemed AS (
    UPDATE challenges
    SET redeemed_at = now()
    FROM found
    WHERE challenges.id = found.id
      AND challenges.redeemed_at IS NULL
    RETURNING found.user_id
), accepted AS (
    DELETE FROM invitations
    USING redeemed
    WHERE invitations.user_id = redeemed.user_id
    RETURNING invitations.user_id
), u AS (
    UPDATE users
    SET username             = coalesce(sqlc.narg('username')::text, username),
        username_key         = coalesce(sqlc.narg('username_key')::text, username_key),
        username_address     = CASE WHEN sqlc.narg('username_key')::text IS NULL THEN username_address ELSE sqlc.narg('username_address')::text END,
        password_hash        = @password_hash,
        must_change_password = false,
        password_expires_at  = NULL,
        email_verified_at    = now(),
        token_version        = token_version + 1,
        updated_at           = now()
    FROM accepted
    WHERE users.id = accepted.user_id
    RETURNING users.id, users.username_key
), skeletons AS (
    INSERT INTO username_skeletons AS s (user_id, skeleton, is_alone)
    SELECT u.id, sha256(convert_to(sqlc.narg('skeleton')::text, 'UTF8')), true
    FROM u
    WHERE sqlc.narg('skeleton')::text IS NOT NULL AND octet_length(u.username_key) <> char_length(u.username_key)
)
SELECT accounts.*
FROM u
CROSS JOIN LATERAL account_of(u.id) AS accounts
CROSS JOIN record_event(@event::jsonb, u.id);

-- RenameRoles gives the roles of a user who was renamed the new name, which a trigger fills in.
-- name: RenameRoles :exec
UPDATE user_roles
SET username_key = username_key
WHERE user_id = @user_id;

-- NameIsTaken looks, after a user was renamed, for an account that had the name before, or whose
-- name looks like it (see InsertUser).
-- name: NameIsTaken :one
SELECT (
    username_is_retired(@username_key::text)
    OR EXISTS (SELECT FROM users o WHERE o.username_key = sqlc.narg('skeleton')::text AND o.id <> @user_id)
    OR EXISTS (SELECT FROM username_skeletons k WHERE k.skeleton = sha256(convert_to(sqlc.narg('skeleton')::text, 'UTF8')) AND k.user_id <> @user_id)
)::boolean AS taken;

-- FreeInvitedNames gives accounts that nobody has accepted in time their ids as names, for those
-- who delete them next: the names are free then, since nobody was ever known by them. The last
-- admins stay, if all of them are such accounts.
-- name: FreeInvitedNames :many
UPDATE users u
SET username = u.id::text, username_key = u.id::text, username_address = NULL
WHERE u.id = ANY (ARRAY(
    SELECT i.user_id
    FROM invitations i
    WHERE i.created_at < now() - make_interval(secs => @older_than_seconds)
    ORDER BY i.created_at
    LIMIT @max_rows
    FOR UPDATE SKIP LOCKED
))
  AND u.password_expires_at <= u.created_at
  AND (
      NOT EXISTS (SELECT FROM user_roles g WHERE g.user_id = u.id AND g.role_name = 'admin')
      OR EXISTS (
          SELECT FROM user_roles g
          JOIN users o ON o.id = g.user_id
          WHERE g.role_name = 'admin'
            AND o.disabled_at IS NULL
            AND NOT EXISTS (SELECT FROM invitations x WHERE x.user_id = o.id)
      )
  )
RETURNING u.id;

-- name: DeleteInvited :execrows
WITH gone AS (
    DELETE FROM users
    WHERE users.id = ANY (@ids::uuid[])
    RETURNING users.id
)
SELECT record_event(@event::jsonb, gone.id)
FROM gone;

-- ForgetInvitations drops what is left of invitations that somebody has ended otherwise.
-- name: ForgetInvitations :exec
DELETE FROM invitations n
WHERE n.user_id = ANY (ARRAY(
    SELECT i.user_id
    FROM invitations i
    WHERE i.created_at < now() - make_interval(secs => @older_than_seconds)
    ORDER BY i.created_at
    LIMIT @max_rows
    FOR UPDATE SKIP LOCKED
))
  AND NOT EXISTS (SELECT FROM users u WHERE u.id = n.user_id AND u.password_expires_at <= u.created_at);
