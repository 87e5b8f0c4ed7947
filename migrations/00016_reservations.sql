-- +goose Up
-- A login takes from its limits before its password is looked at: it reserves. held is how many of those that took from a
-- limit have not been settled yet, each of which may give back what it has. Whom only they keep out need not be refused.
-- What a replica that crashed has reserved is settled by nobody: it counts as taken, and held says nothing once taken_at is
-- some time ago.
--
-- taken_at is when something was last taken, in microseconds since 1970. Where it lies ahead, the clock was set back.
--
-- owner is whose rate it is where only the owner can name all of them: that of one of an account's devices.
ALTER TABLE rate_limits
    ADD COLUMN held     integer NOT NULL DEFAULT 0,
    ADD COLUMN taken_at bigint  NOT NULL DEFAULT 0,
    ADD COLUMN owner    bytea,
    ADD CONSTRAINT rate_limits_held_not_negative CHECK (held >= 0),
    ADD CONSTRAINT rate_limits_owner_length CHECK (octet_length(owner) = 32);
CREATE INDEX rate_limits_owner_idx ON rate_limits (owner) WHERE owner IS NOT NULL;

-- +goose StatementBegin
-- The decision of ratelimit.State.by: a tat that was written by a clock which was set back since is as far ahead as it was
-- then. Two transactions that write one row may have begun some time apart: that is no such clock.
CREATE FUNCTION rate_limit_tat(tat bigint, taken_at bigint, at bigint) RETURNS bigint
LANGUAGE sql IMMUTABLE AS $$
    SELECT CASE WHEN taken_at - at > 10000000 THEN tat - (taken_at - at) ELSE tat END
$$;
-- +goose StatementEnd

-- +goose StatementBegin
-- Takes one from each of several limits, or from none of them if one that binds has none left. From one that does not bind,
-- it takes if there is one. Steps, waits and hold are in microseconds. hold is for how long what is taken is only reserved; 0
-- if it is taken for good.
--
-- Where all waits are 0 it was taken, and tats are the new ones, by which rate_limits_settle knows what that was; 0 where
-- nothing was. Else helds tells of which limits something is reserved.
CREATE FUNCTION rate_limits_reserve(
    keys bytea[], owners bytea[], bursts bigint[], steps bigint[], binds boolean[], hold bigint, reserve boolean,
    OUT waits bigint[], OUT tats bigint[], OUT helds boolean[]
)
LANGUAGE plpgsql AS $$
DECLARE
    at    CONSTANT bigint := extract(epoch FROM now()) * 1000000;
    more  CONSTANT integer := CASE WHEN reserve THEN 1 ELSE 0 END;
    back    boolean;
    n       integer;
    taken   bigint;
    wait    bigint;
    is_held boolean;
BEGIN
    -- A look without a lock comes first: what is refused, the bulk of a flood, neither writes nor waits.
    SELECT array_agg(
               CASE
                   WHEN k.binds AND r.key IS NOT NULL
                       THEN greatest(rate_limit_wait(rate_limit_tat(r.tat, r.taken_at, at), at, k.burst, k.step), 0)
                   ELSE 0
               END
               ORDER BY k.n
           ),
           array_agg(coalesce(r.held > 0 AND r.taken_at > at - hold, false) ORDER BY k.n),
           bool_or(rate_limit_tat(r.tat, r.taken_at, at) <> r.tat)
    INTO waits, helds, back
    FROM unnest(keys, bursts, steps, binds) WITH ORDINALITY AS k (key, burst, step, binds, n)
    LEFT JOIN rate_limits r ON r.key = k.key;
    tats := array_fill(0::bigint, ARRAY[cardinality(keys)]);

    -- In the order of the keys, so that of two callers one never waits for the other that waits for it.
    FOR n IN SELECT i FROM generate_subscripts(keys, 1) AS i ORDER BY keys[i] LOOP
        EXIT WHEN 0 < ANY (waits) AND back IS NOT TRUE;
        IF 0 < ANY (waits) THEN -- the clock was set back: from now on, what was used comes back by the new one
            UPDATE rate_limits r
            SET tat = rate_limit_tat(r.tat, r.taken_at, at), taken_at = at
            WHERE r.key = keys[n]
              AND rate_limit_tat(r.tat, r.taken_at, at) <> r.tat;
            CONTINUE;
        END IF;
        INSERT INTO rate_limits AS r (key, owner, tat, held, taken_at)
        VALUES (keys[n], owners[n], at + steps[n], more, at)
        ON CONFLICT (key) DO UPDATE
        SET tat      = greatest(rate_limit_tat(r.tat, r.taken_at, at), at) + steps[n],
            held     = CASE WHEN r.taken_at > at - hold THEN r.held ELSE 0 END + more,
            taken_at = at
        WHERE rate_limit_wait(rate_limit_tat(r.tat, r.taken_at, at), at, bursts[n], steps[n]) <= 0
        RETURNING r.tat INTO taken;
        IF FOUND THEN
            tats[n] := taken;
        ELSIF binds[n] THEN -- others were faster; the conflict has locked the row
            SELECT rate_limit_wait(rate_limit_tat(r.tat, r.taken_at, at), at, bursts[n], steps[n]),
                   r.held > 0 AND r.taken_at > at - hold
            INTO wait, is_held
            FROM rate_limits r
            WHERE r.key = keys[n];
            waits[n] := wait;
            helds[n] := is_held;
            -- Nobody has seen what was taken before: those rows are locked.
            UPDATE rate_limits r
            SET tat = r.tat - k.step, held = greatest(r.held - more, 0)
            FROM unnest(keys, steps, tats) AS k (key, step, tat)
            WHERE r.key = k.key AND k.tat <> 0;
            EXIT;
        END IF;
    END LOOP;
END
$$;
-- +goose StatementEnd

-- +goose StatementBegin
-- Settles what rate_limits_reserve has reserved: gives it back, by the decision of ratelimit.Limit.GiveBack, or leaves it
-- taken for good.
CREATE FUNCTION rate_limits_settle(keys bytea[], steps bigint[], tats bigint[], give_back boolean) RETURNS void
LANGUAGE plpgsql AS $$
DECLARE
    at CONSTANT bigint := extract(epoch FROM now()) * 1000000;
    n integer;
BEGIN
    FOR n IN SELECT i FROM generate_subscripts(keys, 1) AS i ORDER BY keys[i] LOOP
        UPDATE rate_limits r
        SET tat  = r.tat - CASE WHEN give_back THEN least(greatest(tats[n] - at, 0), steps[n]) ELSE 0 END,
            held = greatest(r.held - 1, 0)
        WHERE r.key = keys[n];
    END LOOP;
END
$$;
-- +goose StatementEnd

-- When the password was last changed; NULL if it was not since this is kept. The token of a known device names it, and is
-- void after another change. A trigger keeps it, so that no statement can forget it, nor a replica of the version before.
-- Where the hash alone changes it is the same password, made anew at a login.
ALTER TABLE users ADD COLUMN password_changed_at timestamptz;

-- +goose StatementBegin
CREATE FUNCTION set_password_changed_at() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    NEW.password_changed_at := now();
    RETURN NEW;
END
$$;
-- +goose StatementEnd
CREATE TRIGGER users_password_changed BEFORE UPDATE OF password_hash ON users
    FOR EACH ROW
    WHEN (NEW.password_hash IS DISTINCT FROM OLD.password_hash AND NEW.token_version IS DISTINCT FROM OLD.token_version)
    EXECUTE FUNCTION set_password_changed_at();

-- +goose Down
DROP TRIGGER users_password_changed ON users;
DROP FUNCTION set_password_changed_at;
ALTER TABLE users DROP COLUMN password_changed_at;
DROP FUNCTION rate_limits_settle;
DROP FUNCTION rate_limits_reserve;
DROP FUNCTION rate_limit_tat;
DROP INDEX rate_limits_owner_idx;
ALTER TABLE rate_limits DROP COLUMN owner, DROP COLUMN taken_at, DROP COLUMN held;
