-- +goose Up
-- What runs with the owner's rights finds functions, operators and types in pg_catalog alone. In a schema where others may
-- create (as all may in public, by PostgreSQL 14's rights), one of theirs that fits better would be called in its place, as
-- the owner. So the schema is not on the path, and its name is written into the function.
--
-- +goose StatementBegin
DO $do$
BEGIN
    EXECUTE replace($create$
CREATE OR REPLACE FUNCTION add_audit_partitions() RETURNS void LANGUAGE plpgsql SECURITY DEFINER
SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    home  CONSTANT text := HOME; -- quoted
    month timestamp := date_trunc('month', now() AT TIME ZONE 'UTC');
    next  timestamp;
    name  text;
BEGIN
    FOR n IN 1..4 LOOP
        next := month + interval '1 month';
        name := 'audit_events_' || to_char(month, 'YYYY_MM');
        FOR look IN 1..2 LOOP
            EXIT WHEN EXISTS (SELECT FROM pg_class c WHERE c.relnamespace = home::regnamespace AND c.relname = name);
            IF look = 1 THEN
                PERFORM pg_advisory_xact_lock(hashtextextended('add_audit_partitions', 0)); -- many may look at once
            ELSE
                EXECUTE format('CREATE TABLE %s.%I (LIKE %1$s.audit_events INCLUDING DEFAULTS INCLUDING CONSTRAINTS)', home, name);
                EXECUTE format('ALTER TABLE %s.audit_events ATTACH PARTITION %1$s.%I FOR VALUES FROM (%L) TO (%L)',
                    home, name, month AT TIME ZONE 'UTC', next AT TIME ZONE 'UTC');
            END IF;
        END LOOP;
        month := next;
    END LOOP;
END
$$ $create$, 'HOME', quote_literal(quote_ident(current_schema())));
END
$do$;
-- +goose StatementEnd

-- +goose Down
-- The function stays as it is: the version before needs nothing else.
SELECT;
