-- +goose Up
-- How far each limited thing has used up its limit. The key is an HMAC, so that neither names nor addresses stand here;
-- tat is the theoretical arrival time of package ratelimit, in microseconds since 1970: one that is past says no more than
-- no row does.
--
-- UNLOGGED: a crash or a fail-over empties the table, after which everybody may fail once more as often as at the first
-- time. That is worth that no login waits for the log or for a standby on its behalf, and that a flood does not fill them.
CREATE UNLOGGED TABLE rate_limits (
    key bytea  NOT NULL,
    tat bigint NOT NULL,
    CONSTRAINT rate_limits_pkey PRIMARY KEY (key),
    CONSTRAINT rate_limits_key_length CHECK (octet_length(key) = 32)
);
CREATE INDEX rate_limits_tat_idx ON rate_limits (tat);

-- +goose StatementBegin
-- The decision of ratelimit.Limit.Decide at cost 1: for how long the caller must wait; not positive if it need not.
CREATE FUNCTION rate_limit_wait(tat bigint, at bigint, burst bigint, step bigint) RETURNS bigint
LANGUAGE sql IMMUTABLE AS $$
    SELECT least(greatest(tat - at, 0) - (burst - 1) * step, step)
$$;
-- +goose StatementEnd

-- +goose StatementBegin
-- Takes one from each of several limits, or from none of them if one has none left. Steps and waits are in microseconds.
-- Where all waits are 0 it was taken, and tats are the new ones, by which rate_limits_give_back knows what that was.
CREATE FUNCTION rate_limits_take(keys bytea[], bursts bigint[], steps bigint[], OUT waits bigint[], OUT tats bigint[])
LANGUAGE plpgsql AS $$
DECLARE
    at CONSTANT bigint := extract(epoch FROM now()) * 1000000;
    n     integer;
    taken bigint;
BEGIN
    -- A look without a lock comes first: what is refused, the bulk of a flood, neither writes nor waits.
    SELECT array_agg(greatest(rate_limit_wait(coalesce(r.tat, at), at, k.burst, k.step), 0) ORDER BY k.n)
    INTO waits
    FROM unnest(keys, bursts, steps) WITH ORDINALITY AS k (key, burst, step, n)
    LEFT JOIN rate_limits r USING (key);
    tats := array_fill(0::bigint, ARRAY[cardinality(keys)]);

    -- In the order of the keys, so that of two callers one never waits for the other that waits for it.
    FOR n IN SELECT i FROM generate_subscripts(keys, 1) AS i ORDER BY keys[i] LOOP
        EXIT WHEN 0 < ANY (waits);
        INSERT INTO rate_limits AS r (key, tat)
        VALUES (keys[n], at + steps[n])
        ON CONFLICT (key) DO UPDATE SET tat = greatest(r.tat, at) + steps[n]
        WHERE rate_limit_wait(r.tat, at, bursts[n], steps[n]) <= 0
        RETURNING r.tat INTO taken;
        IF FOUND THEN
            tats[n] := taken;
        ELSE -- others were faster; the conflict has locked the row
            SELECT rate_limit_wait(r.tat, at, bursts[n], steps[n]) INTO taken FROM rate_limits r WHERE r.key = keys[n];
            waits[n] := taken;
            -- Nobody has seen what was taken before: those rows are locked.
            UPDATE rate_limits r
            SET tat = r.tat - k.step
            FROM unnest(keys, steps, tats) AS k (key, step, tat)
            WHERE r.key = k.key AND k.tat <> 0;
        END IF;
    END LOOP;
END
$$;
-- +goose StatementEnd

-- +goose StatementBegin
-- The decision of ratelimit.Limit.GiveBack, for what rate_limits_take has taken.
CREATE FUNCTION rate_limits_give_back(keys bytea[], steps bigint[], tats bigint[]) RETURNS void
LANGUAGE plpgsql AS $$
DECLARE
    at CONSTANT bigint := extract(epoch FROM now()) * 1000000;
    n integer;
BEGIN
    FOR n IN SELECT i FROM generate_subscripts(keys, 1) AS i ORDER BY keys[i] LOOP
        UPDATE rate_limits SET tat = tat - least(greatest(tats[n] - at, 0), steps[n]) WHERE key = keys[n];
    END LOOP;
END
$$;
-- +goose StatementEnd

-- +goose Down
DROP FUNCTION rate_limits_give_back;
DROP FUNCTION rate_limits_take;
DROP FUNCTION rate_limit_wait;
DROP TABLE rate_limits;
