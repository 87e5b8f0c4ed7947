-- +goose Up
-- What bars tokens also says so to the replicas. In the schema, so that no statement can forget it.
--
-- The version of the service before this one inserts these rows itself, so that while replicas of both run there are two
-- for one event. A replica takes the second for known: of a user's versions it keeps the highest, of a session's rows one.

-- +goose StatementBegin
CREATE FUNCTION revoke_older_versions() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    -- Not a join: its plan is kept from the first time, and one that was made for a single row would compare each row with
    -- each when a role changes that many have.
    INSERT INTO revocations (user_id, version)
    SELECT v.id, max(v.token_version)
    FROM (SELECT b.id, b.token_version FROM before b UNION ALL SELECT a.id, a.token_version FROM after a) v
    GROUP BY v.id
    HAVING max(v.token_version) > min(v.token_version);
    RETURN NULL;
END
$$;
CREATE FUNCTION revoke_deleted_users() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO revocations (user_id, version)
    SELECT b.id, b.token_version + 1
    FROM before b;
    RETURN NULL;
END
$$;
CREATE FUNCTION revoke_session() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO revocations (session_id) VALUES (NEW.id);
    RETURN NULL;
END
$$;
-- +goose StatementEnd
-- For each statement: one may change a hundred thousand users.
CREATE TRIGGER users_revoke_older_versions AFTER UPDATE ON users
    REFERENCING OLD TABLE AS before NEW TABLE AS after FOR EACH STATEMENT EXECUTE FUNCTION revoke_older_versions();
CREATE TRIGGER users_revoke_deleted AFTER DELETE ON users
    REFERENCING OLD TABLE AS before FOR EACH STATEMENT EXECUTE FUNCTION revoke_deleted_users();
-- For each row: a refresh, which ends nothing, costs nothing. Sessions that end because their user was disabled or has
-- another password have tokens of an older version: the one row of the user bars them all.
CREATE TRIGGER sessions_revoke_ended AFTER UPDATE OF ended_at ON sessions
    FOR EACH ROW WHEN (OLD.ended_at IS NULL AND NEW.ended_at IS NOT NULL AND NEW.end_reason NOT IN ('disabled', 'password'))
    EXECUTE FUNCTION revoke_session();

-- +goose Down
DROP TRIGGER sessions_revoke_ended ON sessions;
DROP TRIGGER users_revoke_deleted ON users;
DROP TRIGGER users_revoke_older_versions ON users;
DROP FUNCTION revoke_session;
DROP FUNCTION revoke_deleted_users;
DROP FUNCTION revoke_older_versions;
