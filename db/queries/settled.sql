-- Settle writes a record without meaning to the log of the database (WAL). It returns when all that
-- was committed before is as safe as a change is: with synchronous replication, when the standby
-- has it. A transaction that writes nothing would wait for nobody, nor would one that only takes a
-- number.
-- name: Settle :exec
SELECT pg_logical_emit_message(true, 'gatehouse', '');
