-- name: PasswordCosts :many
SELECT kind, amount
FROM password_costs;

-- name: RaisePasswordCost :exec
INSERT INTO password_costs (kind, amount)
VALUES (@kind, @amount)
ON CONFLICT ON CONSTRAINT password_costs_pkey DO UPDATE SET amount = excluded.amount
WHERE password_costs.amount < excluded.amount;
