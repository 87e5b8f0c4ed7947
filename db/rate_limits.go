package db

import (
	"context"
	"slices"
	"time"

	"gatehouse/db/internal/sqlcgen"
	"gatehouse/internal/auth"
	"gatehouse/internal/ratelimit"
)

var _ auth.RateStore = (*DB)(nil)

// TakeRates implements auth.RateStore.
func (d *DB) TakeRates(ctx context.Context, rates []auth.Rate) ([]auth.TakenRate, []time.Duration, error) {
	var p sqlcgen.TakeRateLimitsParams
	for _, r := range rates {
		p.Keys = append(p.Keys, r.Key[:])
		p.Bursts = append(p.Bursts, int64(r.Limit.Burst))
		p.Steps = append(p.Steps, r.Limit.Interval.Microseconds())
	}
	row, err := d.queries.TakeRateLimits(ctx, p)
	if err != nil {
		return nil, nil, translate("take rate limits", err)
	}
	waits := make([]time.Duration, len(row.Waits))
	for n, us := range row.Waits {
		waits[n] = time.Duration(us) * time.Microsecond
	}
	if slices.Max(waits) > 0 {
		return nil, waits, nil
	}
	taken := make([]auth.TakenRate, len(rates))
	for n, r := range rates {
		taken[n] = auth.TakenRate{Rate: r, State: time.UnixMicro(row.Tats[n])}
	}
	return taken, waits, nil
}

// GiveBackRates implements auth.RateStore.
func (d *DB) GiveBackRates(ctx context.Context, taken []auth.TakenRate) error {
	var p sqlcgen.GiveBackRateLimitsParams
	for _, r := range taken {
		p.Keys = append(p.Keys, r.Key[:])
		p.Steps = append(p.Steps, r.Limit.Interval.Microseconds())
		p.Tats = append(p.Tats, r.State.UnixMicro())
	}
	return translate("give back rate limits", d.queries.GiveBackRateLimits(ctx, p))
}

// ResetRates implements auth.RateStore.
func (d *DB) ResetRates(ctx context.Context, e auth.Event, keys []ratelimit.Key) error {
	raw := make([][]byte, len(keys))
	for n := range keys {
		raw[n] = keys[n][:]
	}
	return translate("delete rate limits", d.queries.DeleteRateLimits(ctx, sqlcgen.DeleteRateLimitsParams{Keys: raw, Event: eventJSON(e), UserID: e.UserID}))
}

// PruneRates deletes at most so many rates that are whole again, and returns how many.
func (d *DB) PruneRates(ctx context.Context, most int) (int64, error) {
	deleted, err := d.queries.PruneRateLimits(ctx, int32(most))
	return deleted, translate("prune rate limits", err)
}
