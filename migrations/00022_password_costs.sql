-- +goose Up
-- The dearest hashes that any account may have: of bcrypt the cost, of Argon2id KiB times passes. A refused login takes as long
-- as if it had been compared with the dearest, so that time does not tell which account has it.
CREATE TABLE password_costs (
    kind   text    NOT NULL,
    amount integer NOT NULL,
    CONSTRAINT password_costs_pkey PRIMARY KEY (kind),
    CONSTRAINT password_costs_kind_known CHECK (kind IN ('bcrypt', 'argon2id')),
    CONSTRAINT password_costs_amount CHECK (amount > 0)
);
INSERT INTO password_costs (kind, amount)
SELECT 'bcrypt', max(substring(password_hash FROM '\$2[aby]\$([0-9]{2})\$')::integer)
FROM users
HAVING max(substring(password_hash FROM '\$2[aby]\$([0-9]{2})\$')::integer) > 0;

-- +goose Down
DROP TABLE password_costs;
