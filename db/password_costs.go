package db

import (
	"context"

	"gatehouse.example/db/internal/sqlcgen"
	"gatehouse.example/internal/password"
)

const (
	bcryptCost   = "bcrypt"
	argon2idCost = "argon2id"
)

// RaisePasswordCosts implements auth.Store.
func (d *DB) RaisePasswordCosts(ctx context.Context, c password.Costs) error {
	for kind, amount := range map[string]int{bcryptCost: c.Bcrypt, argon2idCost: c.Argon2id} {
		if amount == 0 {
			continue
		}
		err := d.queries.RaisePasswordCost(ctx, sqlcgen.RaisePasswordCostParams{Kind: kind, Amount: int32(amount)})
		if err != nil {
			return translate("raise password cost", err)
		}
	}
	return nil
}

// PasswordCosts implements auth.Store.
func (d *DB) PasswordCosts(ctx context.Context) (password.Costs, error) {
	rows, err := d.queries.PasswordCosts(ctx)
	var c password.Costs
	for _, row := range rows {
		switch row.Kind {
		case bcryptCost:
			c.Bcrypt = int(row.Amount)
		case argon2idCost:
			c.Argon2id = int(row.Amount)
		}
	}
	return c, translate("password costs", err)
}
