-- +goose Up
-- Versions come from the clock, so that none comes twice: one that counted up by one would come again after a restore, and then
-- bar no token that was issued before under the same number. Microseconds since 1970 are exact in JSON's numbers until the
-- year 2255. In the schema, so that it holds however a statement raises a version, and for the release before this one.
-- +goose StatementBegin
CREATE FUNCTION last_token_version() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    NEW.token_version := greatest(NEW.token_version, (extract(epoch FROM clock_timestamp()) * 1000000)::bigint);
    RETURN NEW;
END
$$;
CREATE FUNCTION last_role_version() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    NEW.version := greatest(NEW.version, (extract(epoch FROM clock_timestamp()) * 1000000)::bigint);
    RETURN NEW;
END
$$;
CREATE OR REPLACE FUNCTION revoke_deleted_users() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO revocations (user_id, version)
    SELECT b.id, greatest(b.token_version + 1, (extract(epoch FROM clock_timestamp()) * 1000000)::bigint)
    FROM before b;
    RETURN NULL;
END
$$;
-- +goose StatementEnd
-- The tables in the order in which requests lock them.
CREATE OR REPLACE TRIGGER sessions_revoke_ended AFTER UPDATE OF ended_at ON sessions
    FOR EACH ROW WHEN (OLD.ended_at IS NULL AND NEW.ended_at IS NOT NULL AND NEW.end_reason NOT IN ('disabled', 'password', 'restored'))
    EXECUTE FUNCTION revoke_session();
ALTER TABLE sessions DROP CONSTRAINT sessions_end_reason_known;
-- NOT VALID, since what is there had to be less, and to look at each row would keep everybody waiting.
ALTER TABLE sessions ADD CONSTRAINT sessions_end_reason_known
    CHECK (end_reason IN ('logout', 'reuse', 'evicted', 'disabled', 'password', 'operator', 'restored')) NOT VALID;
CREATE TRIGGER users_last_token_version BEFORE UPDATE OF token_version ON users
    FOR EACH ROW WHEN (NEW.token_version > OLD.token_version) EXECUTE FUNCTION last_token_version();
CREATE TRIGGER roles_last_version BEFORE UPDATE OF version ON roles
    FOR EACH ROW WHEN (NEW.version > OLD.version) EXECUTE FUNCTION last_role_version();
CREATE TRIGGER clients_last_token_version BEFORE UPDATE OF token_version ON clients
    FOR EACH ROW WHEN (NEW.token_version > OLD.token_version) EXECUTE FUNCTION last_token_version();

-- +goose Down
UPDATE sessions SET end_reason = 'operator' WHERE end_reason = 'restored';
ALTER TABLE sessions DROP CONSTRAINT sessions_end_reason_known;
ALTER TABLE sessions ADD CONSTRAINT sessions_end_reason_known
    CHECK (end_reason IN ('logout', 'reuse', 'evicted', 'disabled', 'password', 'operator')) NOT VALID;
CREATE OR REPLACE TRIGGER sessions_revoke_ended AFTER UPDATE OF ended_at ON sessions
    FOR EACH ROW WHEN (OLD.ended_at IS NULL AND NEW.ended_at IS NOT NULL AND NEW.end_reason NOT IN ('disabled', 'password'))
    EXECUTE FUNCTION revoke_session();
DROP TRIGGER users_last_token_version ON users;
DROP TRIGGER roles_last_version ON roles;
DROP TRIGGER clients_last_token_version ON clients;
-- +goose StatementBegin
CREATE OR REPLACE FUNCTION revoke_deleted_users() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO revocations (user_id, version)
    SELECT b.id, b.token_version + 1
    FROM before b;
    RETURN NULL;
END
$$;
-- +goose StatementEnd
DROP FUNCTION last_role_version;
DROP FUNCTION last_token_version;
