package db

import (
	"context"
	"math/rand/v2"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"gatehouse/db/internal/sqlcgen"
	"gatehouse/internal/auth"
	"gatehouse/internal/dbtest"
	"gatehouse/internal/ratelimit"
)

func rate(n byte, burst int, interval time.Duration) auth.Rate {
	return auth.Rate{Key: ratelimit.Key{n}, Limit: ratelimit.Limit{Burst: burst, Interval: interval}}
}

func (d *DB) mustTake(t *testing.T, rates ...auth.Rate) []auth.TakenRate {
	t.Helper()
	taken, waits, err := d.TakeRates(t.Context(), rates)
	must(t, err)
	if len(taken) != len(rates) {
		t.Fatalf("refused for %v", waits)
	}
	return taken
}

// The decision is written twice: in Go, where it is tested by itself, and in SQL, where the rows are. Within a transaction
// now() stands still, so that both can be asked about one moment.
func TestTheDatabaseDecidesAsPackageRatelimitDoes(t *testing.T) {
	t.Parallel()
	conn := connectTo(t, dbtest.New(t))
	seed := rand.Uint64()
	random := rand.New(rand.NewPCG(seed, 0))
	rates := []auth.Rate{rate(1, 1, time.Minute), rate(2, 3, 7*time.Second), rate(3, 100, time.Microsecond), rate(4, 50, 1728*time.Second)}
	counts := map[bool]int{}
	for step := range 3000 {
		h := &decision{T: t, tx: begin(t, conn)}
		asked := slices.Clone(rates)
		random.Shuffle(len(asked), func(i, j int) { asked[i], asked[j] = asked[j], asked[i] })
		asked = asked[:1+random.IntN(len(asked))]
		allowed := h.compare(asked)
		counts[allowed]++
		if allowed && random.IntN(3) == 0 {
			h.compareGiveBack(asked, time.Duration(random.IntN(120_000_000))*time.Microsecond)
		}
		// Time goes on, and now and then back.
		h.age(time.Duration(random.Int64N(int64(time.Minute))) - time.Duration(random.IntN(8)/7)*time.Minute)
		must(t, h.tx.Commit(t.Context()))
		if t.Failed() {
			t.Fatalf("at step %d of history %d", step, seed)
		}
	}
	if counts[true] < 100 || counts[false] < 100 {
		t.Errorf("%v: the history has too little of one", counts)
	}
}

func begin(t *testing.T, conn *pgx.Conn) pgx.Tx {
	t.Helper()
	tx, err := conn.Begin(t.Context())
	must(t, err)
	return tx
}

// decision is a moment.
type decision struct {
	*testing.T
	tx    pgx.Tx
	now   time.Time
	taken []auth.TakenRate
}

func (h *decision) states(rates []auth.Rate) []time.Time {
	h.Helper()
	must(h, h.tx.QueryRow(h.Context(), "SELECT now()").Scan(&h.now))
	states := make([]time.Time, len(rates))
	for n, r := range rates {
		var tat int64
		must(h, h.tx.QueryRow(h.Context(), "SELECT coalesce(max(tat), 0) FROM rate_limits WHERE key = $1", r.Key[:]).Scan(&tat))
		states[n] = time.UnixMicro(tat)
	}
	return states
}

// compare takes from the rates, in SQL and in Go.
func (h *decision) compare(rates []auth.Rate) (allowed bool) {
	h.Helper()
	before := h.states(rates)
	want, all := make([]ratelimit.Decision, len(rates)), true
	for n, r := range rates {
		want[n] = r.Limit.Decide(before[n], h.now, 1)
		all = all && want[n].Allowed
	}
	taken, waits, err := (&DB{queries: sqlcgen.New(h.tx)}).TakeRates(h.Context(), rates)
	must(h, err)
	h.taken = taken
	after := h.states(rates)
	for n := range rates {
		if waits[n] != want[n].RetryAfter {
			h.Errorf("%v: wait %v, want %v", rates[n].Limit, waits[n], want[n].RetryAfter)
		}
		state := before[n]
		if all {
			state = want[n].State
		}
		if !after[n].Equal(state) {
			h.Errorf("%v: state %v, want %v", rates[n].Limit, after[n], state)
		}
		if all && !taken[n].State.Equal(state) {
			h.Errorf("%v: returned state %v, want %v", rates[n].Limit, taken[n].State, state)
		}
	}
	return all
}

// compareGiveBack gives back what was taken some time ago.
func (h *decision) compareGiveBack(rates []auth.Rate, ago time.Duration) {
	h.Helper()
	h.age(ago)
	before, want := h.states(rates), make([]time.Time, len(rates))
	for n := range h.taken {
		h.taken[n].State = h.taken[n].State.Add(-ago)
		want[n] = h.taken[n].Limit.GiveBack(before[n], h.taken[n].State, h.now)
	}
	must(h, (&DB{queries: sqlcgen.New(h.tx)}).GiveBackRates(h.Context(), h.taken))
	for n, got := range h.states(rates) {
		if !got.Equal(want[n]) {
			h.Errorf("%v, %v after: state %v, want %v", rates[n].Limit, ago, got, want[n])
		}
	}
}

// age lets time go by, as far as the rows can tell.
func (h *decision) age(d time.Duration) {
	h.Helper()
	_, err := h.tx.Exec(h.Context(), "UPDATE rate_limits SET tat = tat - $1", d.Microseconds())
	must(h, err)
}

// With a look first and a write after it, many at once would all see the last one left. With rows locked in the order of
// the question, two would wait for each other.
func TestManyWhoTakeAtOnceGetWhatThereIsAndNoMore(t *testing.T) {
	t.Parallel()
	d := open(t, Options{URL: dbtest.New(t), MaxConns: 16})
	for round := range byte(5) {
		// The scarce one is locked last, when others have been taken from.
		plenty, some, scarce := rate(10*round, 1000, time.Hour), rate(10*round+1, 20, time.Hour), rate(10*round+2, 10, time.Hour)
		var (
			wg    sync.WaitGroup
			mu    sync.Mutex
			taken int
		)
		for n := range 100 {
			wg.Go(func() {
				rates := []auth.Rate{plenty, some, scarce}
				slices.SortFunc(rates, func(a, b auth.Rate) int { return (int(a.Key[0]) - int(b.Key[0])) * (1 - 2*(n%2)) })
				got, _, err := d.TakeRates(t.Context(), rates)
				if err != nil {
					t.Error(err)
				}
				mu.Lock()
				defer mu.Unlock()
				taken += len(got) / len(rates)
			})
		}
		wg.Wait()
		if taken != 10 {
			t.Errorf("round %d: %d were let through, want 10", round, taken)
		}
		// Those who were refused by one limit have taken nothing from the others.
		for _, r := range []auth.Rate{plenty, some, scarce} {
			var used float64
			must(t, d.pool.QueryRow(t.Context(), `SELECT coalesce(max(tat), 0) / 1e6 - extract(epoch FROM now())
				FROM rate_limits WHERE key = $1`, r.Key[:]).Scan(&used))
			if got := int(used/3600 + 0.5); got != 10 {
				t.Errorf("round %d: %d taken from %v, want 10", round, got, r.Limit)
			}
		}
	}
}

// A flood that wrote would be a flood of the database.
func TestARefusalWritesNothing(t *testing.T) {
	t.Parallel()
	d := open(t, Options{URL: dbtest.New(t)})
	usedUp, fresh := rate(1, 1, time.Hour), rate(2, 1, time.Hour)
	d.mustTake(t, usedUp)
	tx, err := d.pool.Begin(t.Context())
	must(t, err)
	defer func() { _ = tx.Rollback(context.WithoutCancel(t.Context())) }()
	taken, waits, err := (&DB{queries: sqlcgen.New(tx)}).TakeRates(t.Context(), []auth.Rate{fresh, usedUp})
	must(t, err)
	if taken != nil || waits[0] != 0 || waits[1] <= 59*time.Minute {
		t.Errorf("%v, %v", taken, waits)
	}
	var written *string
	must(t, tx.QueryRow(t.Context(), "SELECT pg_current_xact_id_if_assigned()::text").Scan(&written))
	if written != nil {
		t.Error("the transaction has written")
	}
}

func TestAResetRateIsWholeAgain(t *testing.T) {
	t.Parallel()
	d := open(t, Options{URL: dbtest.New(t)})
	one, other := rate(1, 1, time.Hour), rate(2, 1, time.Hour)
	d.mustTake(t, one, other)
	must(t, d.ResetRates(t.Context(), anEvent(), []ratelimit.Key{one.Key}))
	d.mustTake(t, one)
	if taken, _, err := d.TakeRates(t.Context(), []auth.Rate{other}); err != nil || taken != nil {
		t.Errorf("another one was reset too: %v, %v", taken, err)
	}
}

func TestPruningDeletesWhatSaysNothingAndNothingElse(t *testing.T) {
	t.Parallel()
	d := open(t, Options{URL: dbtest.New(t)})
	_, err := d.pool.Exec(t.Context(), `INSERT INTO rate_limits
		SELECT sha256(n::text::bytea), (extract(epoch FROM now()) * 1e6)::bigint + 60000000 * (n - 10) - 30000000 FROM generate_series(1, 20) n`)
	must(t, err)
	for _, want := range []int64{4, 4, 2, 0} {
		if deleted, err := d.PruneRates(t.Context(), 4); err != nil || deleted != want {
			t.Errorf("deleted %d, want %d: %v", deleted, want, err)
		}
	}
}

// A row that is being counted must not be waited for, nor those that another replica is about to delete.
func TestPruningWaitsForNobody(t *testing.T) {
	t.Parallel()
	d := open(t, Options{URL: dbtest.New(t)})
	_, err := d.pool.Exec(t.Context(), "INSERT INTO rate_limits SELECT sha256(n::text::bytea), n FROM generate_series(1, 2) n")
	must(t, err)
	counting, err := d.pool.Begin(t.Context())
	must(t, err)
	_, err = counting.Exec(t.Context(), "SELECT FROM rate_limits WHERE tat = 1 FOR UPDATE")
	must(t, err)
	if deleted, err := d.PruneRates(t.Context(), 10); err != nil || deleted != 1 {
		t.Errorf("while a row is locked: %d, %v", deleted, err)
	}
	must(t, counting.Rollback(t.Context()))
}

// What was lost in a crash is no reason to fail a login.
func TestGivingBackWhatIsGoneIsNoError(t *testing.T) {
	t.Parallel()
	d := open(t, Options{URL: dbtest.New(t)})
	taken := d.mustTake(t, rate(1, 1, time.Hour))
	must(t, d.ResetRates(t.Context(), anEvent(), []ratelimit.Key{{1}}))
	must(t, d.GiveBackRates(t.Context(), taken))
	d.mustTake(t, rate(1, 1, time.Hour))
}
