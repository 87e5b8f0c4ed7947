-- +goose NO TRANSACTION
-- +goose Up
-- A user's sessions, also those that have ended: who deletes the account deletes them, and who takes
-- the data along reads them. Without an index, each would look through the sessions of everybody.
--
-- It is made beside the requests. PostgreSQL waits for all that began before, and the wait holds up
-- nobody. So it may take as long as it takes. A try that was cut off leaves an index that is not
-- valid: it is dropped, and made anew.
SET lock_timeout = 0;
DROP INDEX CONCURRENTLY IF EXISTS sessions_user_id_idx;
CREATE INDEX CONCURRENTLY sessions_user_id_idx ON sessions (user_id, created_at, id);
RESET lock_timeout;

-- +goose Down
DROP INDEX IF EXISTS sessions_user_id_idx;
