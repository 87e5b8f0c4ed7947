package db

import (
	"context"
	"time"

	"gatehouse.example/db/internal/sqlcgen"
	"gatehouse.example/internal/auth"
	"gatehouse.example/internal/ratelimit"
)

var _ auth.RateStore = (*DB)(nil)

// TakeRates implements auth.RateStore.
func (d *DB) TakeRates(ctx context.Context, rates []auth.Rate, reserve bool) ([]auth.TakenRate, []auth.RefusedRate, error) {
	leave, err := d.turns.take(ctx, rateRows(rates)...)
	if err != nil {
		return nil, nil, translate("take rate limits", err)
	}
	defer leave()
	found, err := d.queries.TakeRateLimits(ctx, ratesToTake(rates, reserve))
	if err != nil {
		return nil, nil, translate("take rate limits", err)
	}
	if refused := refusedOf(rates, found); len(refused) > 0 {
		return nil, refused, nil
	}
	return takenOf(rates, found), nil, nil
}

func ratesToTake(rates []auth.Rate, reserve bool) sqlcgen.TakeRateLimitsParams {
	p := sqlcgen.TakeRateLimitsParams{Hold: auth.ReservationLifetime.Microseconds(), Reserve: reserve}
	for _, r := range rates {
		p.Keys = append(p.Keys, r.Key[:])
		p.Owners = append(p.Owners, owner(r))
		p.Bursts = append(p.Bursts, int64(r.Limit.Burst))
		p.Steps = append(p.Steps, r.Limit.Interval.Microseconds())
		p.Binds = append(p.Binds, !r.Lenient)
	}
	return p
}

// owner is NULL where there is none.
func owner(r auth.Rate) []byte {
	if r.Owner == (ratelimit.Key{}) {
		return nil
	}
	return r.Owner[:]
}

func refusedOf(rates []auth.Rate, row sqlcgen.TakeRateLimitsRow) []auth.RefusedRate {
	var refused []auth.RefusedRate
	for n, us := range row.Waits {
		if us > 0 {
			refused = append(refused, auth.RefusedRate{Key: rates[n].Key, Wait: time.Duration(us) * time.Microsecond, Reserved: row.Helds[n]})
		}
	}
	return refused
}

// takenOf leaves out those that had none left, and refuse nothing.
func takenOf(rates []auth.Rate, row sqlcgen.TakeRateLimitsRow) []auth.TakenRate {
	var taken []auth.TakenRate
	for n, tat := range row.Tats {
		if tat != 0 {
			taken = append(taken, auth.TakenRate{Rate: rates[n], State: time.UnixMicro(tat)})
		}
	}
	return taken
}

// SettleRates implements auth.RateStore.
func (d *DB) SettleRates(ctx context.Context, reserved []auth.TakenRate, giveBack bool) error {
	rates := make([]auth.Rate, len(reserved))
	for n, r := range reserved {
		rates[n] = r.Rate
	}
	leave, err := d.turns.take(ctx, rateRows(rates)...)
	if err != nil {
		return translate("settle rate limits", err)
	}
	defer leave()
	p := sqlcgen.SettleRateLimitsParams{GiveBack: giveBack}
	for _, r := range reserved {
		p.Keys = append(p.Keys, r.Key[:])
		p.Steps = append(p.Steps, r.Limit.Interval.Microseconds())
		p.Tats = append(p.Tats, r.State.UnixMicro())
	}
	return translate("settle rate limits", d.queries.SettleRateLimits(ctx, p))
}

// GiveBackRates implements auth.RateStore.
func (d *DB) GiveBackRates(ctx context.Context, taken []auth.TakenRate) error {
	rates := make([]auth.Rate, len(taken))
	p := sqlcgen.GiveBackRateLimitsParams{}
	for n, r := range taken {
		rates[n] = r.Rate
		p.Keys = append(p.Keys, r.Key[:])
		p.Steps = append(p.Steps, r.Limit.Interval.Microseconds())
		p.Tats = append(p.Tats, r.State.UnixMicro())
	}
	leave, err := d.turns.take(ctx, rateRows(rates)...)
	if err != nil {
		return translate("give back rate limits", err)
	}
	defer leave()
	return translate("give back rate limits", d.queries.GiveBackRateLimits(ctx, p))
}

// ResetRates implements auth.RateStore.
func (d *DB) ResetRates(ctx context.Context, e auth.Event, rule auth.Rule, keys []ratelimit.Key, owner ratelimit.Key, codes bool) (reset []ratelimit.Key, err error) {
	raw := make([][]byte, len(keys))
	for n := range keys {
		raw[n] = keys[n][:]
	}
	err = d.inTurnUnlessFree(ctx, "delete rate limits", e.By, rule, target{userID: e.UserID}, func(q *sqlcgen.Queries) error {
		row, err := q.DeleteRateLimits(ctx, sqlcgen.DeleteRateLimitsParams{Keys: raw, Owner: owner[:], Event: eventJSON(e), UserID: e.UserID, Codes: codes})
		for _, key := range row.Reset {
			reset = append(reset, ratelimit.Key(key))
		}
		return translate("delete rate limits", err)
	})
	return reset, err
}

// PruneRates deletes at most so many rates that are whole again, and returns how many.
func (d *DB) PruneRates(ctx context.Context, most int) (int64, error) {
	deleted, err := d.queries.PruneRateLimits(ctx, int32(most))
	return deleted, translate("prune rate limits", err)
}
