-- +goose Up
-- What tells a retry from a thief, where a refresh token is used again within the grace. NOT VALID: no row has a network yet,
-- and to look at each would keep everybody waiting.
ALTER TABLE sessions
    -- Where the refresh came from that rotated last; NULL: it is not known.
    ADD COLUMN rotated_network cidr,
    -- How often the token before the current one was used again.
    ADD COLUMN repeats integer NOT NULL DEFAULT 0,
    -- The counter at which that was answered to another network the last time; -1: never. A number, so that a rotation need
    -- not reset it: the version of the service before this one would not.
    ADD COLUMN repeated_elsewhere_at bigint NOT NULL DEFAULT -1,
    ADD CONSTRAINT sessions_rotated_network_is_coarse
        CHECK (masklen(rotated_network) = CASE family(rotated_network) WHEN 4 THEN 24 ELSE 48 END) NOT VALID,
    ADD CONSTRAINT sessions_repeated_elsewhere_in_time CHECK (repeated_elsewhere_at <= counter) NOT VALID;

-- +goose Down
ALTER TABLE sessions
    DROP COLUMN repeated_elsewhere_at,
    DROP COLUMN repeats,
    DROP COLUMN rotated_network;
