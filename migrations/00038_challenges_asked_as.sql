-- +goose Up
-- Whoever has asked for another mail goes on with the challenge of the first one, also if the other
-- mail was not sent.
ALTER TABLE challenges ADD COLUMN asked_as uuid; -- NULL: the challenge's own id

-- +goose Down
ALTER TABLE challenges DROP COLUMN asked_as;
