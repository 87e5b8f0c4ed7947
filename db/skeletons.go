package db

import (
	"context"

	"github.com/jackc/pgx/v5"

	"gatehouse.example/db/internal/sqlcgen"
	"gatehouse.example/internal/auth"
)

// MakeSkeletons puts on record what at most so many names look like, and tells how many: of
// accounts that were there before names were compared by their looks, and of those that operators,
// imports and the version before have made.
func (d *DB) MakeSkeletons(ctx context.Context, most int) (made int64, err error) {
	err = pgx.BeginFunc(ctx, d.pool, func(tx pgx.Tx) error {
		q := d.queries.WithTx(tx)
		rows, err := q.UsernamesWithoutSkeleton(ctx, int32(most))
		if err != nil {
			return err
		}
		for _, row := range rows {
			if err := q.SetSkeleton(ctx, sqlcgen.SetSkeletonParams{UserID: row.UserID, Skeleton: auth.SkeletonOf(row.UsernameKey)}); err != nil {
				return err
			}
		}
		made = int64(len(rows))
		return nil
	})
	return made, translate("make skeletons", err)
}
