package db

import (
	"context"
	"math/rand/v2"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"gatehouse.example/db/internal/sqlcgen"
	"gatehouse.example/internal/auth"
	"gatehouse.example/internal/dbtest"
	"gatehouse.example/internal/ratelimit"
)

func rate(n byte, burst int, interval time.Duration) auth.Rate {
	return auth.Rate{Key: ratelimit.Key{n}, Limit: ratelimit.Limit{Burst: burst, Interval: interval}}
}

func (d *DB) mustTake(t *testing.T, rates ...auth.Rate) []auth.TakenRate {
	t.Helper()
	taken, refused, err := d.TakeRates(t.Context(), rates, true)
	must(t, err)
	if len(taken) != len(rates) {
		t.Fatalf("refused: %v", refused)
	}
	return taken
}

func (d *DB) mustReset(t *testing.T, keys []ratelimit.Key, owner ratelimit.Key) []ratelimit.Key {
	t.Helper()
	reset, err := d.ResetRates(t.Context(), anEvent(), auth.Freely(), keys, owner, false)
	must(t, err)
	return reset
}

// The decision is written twice: in Go, where it is tested by itself, and in SQL, where the rows
// are. Within a transaction now() stands still, so that both can be asked about one moment.
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
			h.compareSettle(asked, time.Duration(random.IntN(120_000_000))*time.Microsecond, random.IntN(4) > 0)
		}
		// Time goes on, and now and then back.
		h.age(time.Duration(random.Int64N(int64(time.Minute))) - time.Duration(random.IntN(8)/7)*time.Duration(random.IntN(120))*time.Minute)
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

func (h *decision) states(rates []auth.Rate) []ratelimit.State {
	h.Helper()
	must(h, h.tx.QueryRow(h.Context(), "SELECT now()").Scan(&h.now))
	states := make([]ratelimit.State, len(rates))
	for n, r := range rates {
		var tat, takenAt int64
		must(h, h.tx.QueryRow(h.Context(), "SELECT coalesce(max(tat), 0), coalesce(max(taken_at), 0) FROM rate_limits WHERE key = $1",
			r.Key[:]).Scan(&tat, &takenAt))
		states[n] = ratelimit.State{Whole: time.UnixMicro(tat), Taken: time.UnixMicro(takenAt)}
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
	taken, refused, err := (&DB{queries: sqlcgen.New(h.tx)}).TakeRates(h.Context(), rates, true)
	must(h, err)
	h.taken = taken
	waits := map[ratelimit.Key]time.Duration{}
	for _, r := range refused {
		waits[r.Key] = r.Wait
	}
	after := h.states(rates)
	for n, r := range rates {
		if waits[r.Key] != want[n].RetryAfter {
			h.Errorf("%v: wait %v, want %v", r.Limit, waits[r.Key], want[n].RetryAfter)
		}
		if state := want[n].State; (all || !want[n].Allowed) && !sameState(after[n], state) {
			h.Errorf("%v: state %v, want %v", r.Limit, after[n], state)
		}
		if !all && want[n].Allowed && after[n].Whole.After(before[n].Whole) {
			h.Errorf("%v: taken, though another was refused", r.Limit)
		}
		if all && !taken[n].State.Equal(want[n].State.Whole) {
			h.Errorf("%v: returned state %v, want %v", r.Limit, taken[n].State, want[n].State)
		}
	}
	return all
}

func sameState(a, b ratelimit.State) bool { return a.Whole.Equal(b.Whole) && a.Taken.Equal(b.Taken) }

// compareSettle gives back what was taken some time ago, or leaves it taken.
func (h *decision) compareSettle(rates []auth.Rate, ago time.Duration, giveBack bool) {
	h.Helper()
	h.age(ago)
	before := h.states(rates)
	want := slices.Clone(before)
	for n := range h.taken {
		h.taken[n].State = h.taken[n].State.Add(-ago)
		if giveBack {
			want[n] = h.taken[n].Limit.GiveBack(before[n], h.taken[n].State, h.now)
		}
	}
	must(h, (&DB{queries: sqlcgen.New(h.tx)}).SettleRates(h.Context(), h.taken, giveBack))
	for n, got := range h.states(rates) {
		if !sameState(got, want[n]) {
			h.Errorf("%v, %v after: state %v, want %v", rates[n].Limit, ago, got, want[n])
		}
	}
}

// age lets time go by, as far as the rows can tell.
func (h *decision) age(d time.Duration) {
	h.Helper()
	_, err := h.tx.Exec(h.Context(), "UPDATE rate_limits SET tat = tat - $1, taken_at = taken_at - $1", d.Microseconds())
	must(h, err)
}

// With a look first and a write after it, many at once would all see the last one left. With rows
// locked in the order of the question, two would wait for each other.
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
			held  int
		)
		for n := range 100 {
			wg.Go(func() {
				rates := []auth.Rate{plenty, some, scarce}
				slices.SortFunc(rates, func(a, b auth.Rate) int { return (int(a.Key[0]) - int(b.Key[0])) * (1 - 2*(n%2)) })
				got, _, err := d.TakeRates(t.Context(), rates, n%3 > 0)
				if err != nil {
					t.Error(err)
				}
				mu.Lock()
				defer mu.Unlock()
				taken += len(got) / len(rates)
				if n%3 > 0 {
					held += len(got) / len(rates)
				}
			})
		}
		wg.Wait()
		if taken != 10 {
			t.Errorf("round %d: %d were let through, want 10", round, taken)
		}
		// Those who were refused by one limit have taken nothing from the others.
		for _, r := range []auth.Rate{plenty, some, scarce} {
			var used float64
			var open int
			must(t, d.pool.QueryRow(t.Context(), `SELECT coalesce(max(tat), 0) / 1e6 - extract(epoch FROM now()), coalesce(max(held), 0)
				FROM rate_limits WHERE key = $1`, r.Key[:]).Scan(&used, &open))
			if got := int(used/3600 + 0.5); got != 10 || open != held {
				t.Errorf("round %d: %d taken from %v, want 10; %d are held, want %d", round, got, r.Limit, open, held)
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
	taken, refused, err := (&DB{queries: sqlcgen.New(tx)}).TakeRates(t.Context(), []auth.Rate{fresh, usedUp}, true)
	must(t, err)
	if taken != nil || len(refused) != 1 || refused[0].Key != usedUp.Key || refused[0].Wait <= 59*time.Minute {
		t.Errorf("%v, %v", taken, refused)
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
	d.mustReset(t, []ratelimit.Key{one.Key}, ratelimit.Key{})
	d.mustTake(t, one)
	if taken, _, err := d.TakeRates(t.Context(), []auth.Rate{other}, true); err != nil || taken != nil {
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

// A row that is being counted must not be waited for, nor those that another replica is about to
// delete.
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
	d.mustReset(t, []ratelimit.Key{{1}}, ratelimit.Key{})
	must(t, d.SettleRates(t.Context(), taken, true))
	d.mustTake(t, rate(1, 1, time.Hour))
}

// Who is refused for what others have only reserved must hear of it, on whatever replica they ask,
// and as long as it is so.
func TestARefusalTellsWhetherSomethingIsOnlyReserved(t *testing.T) {
	t.Parallel()
	d := open(t, Options{URL: dbtest.New(t)})
	r := rate(1, 2, time.Hour)
	refusal := func(want bool, when string) {
		t.Helper()
		taken, refused, err := d.TakeRates(t.Context(), []auth.Rate{r}, true)
		must(t, err)
		if taken != nil || len(refused) != 1 || refused[0].Reserved != want {
			t.Errorf("%s: %v, %v, want reserved %v", when, taken, refused, want)
		}
	}
	first, second := d.mustTake(t, r), d.mustTake(t, r)
	refusal(true, "two reserved")
	must(t, d.SettleRates(t.Context(), first, false))
	refusal(true, "one reserved")
	must(t, d.SettleRates(t.Context(), second, false))
	refusal(false, "both taken for good")

	d.mustReset(t, []ratelimit.Key{r.Key}, ratelimit.Key{})
	for range 2 {
		_, _, err := d.TakeRates(t.Context(), []auth.Rate{r}, false)
		must(t, err)
	}
	refusal(false, "taken without a reservation")

	d.mustReset(t, []ratelimit.Key{r.Key}, ratelimit.Key{})
	d.mustTake(t, r)
	must(t, d.SettleRates(t.Context(), d.mustTake(t, r), true))
	d.mustTake(t, r)
	refusal(true, "given back and reserved again")
}

// A replica that crashes settles nothing. What it had reserved stays taken, and nobody waits for it
// for ever.
func TestWhatACrashedReplicaHasReservedIsTakenForGood(t *testing.T) {
	t.Parallel()
	d := open(t, Options{URL: dbtest.New(t)})
	r := rate(1, 2, time.Hour)
	d.mustTake(t, r)
	d.mustTake(t, r)
	pass := func(by time.Duration) {
		_, err := d.pool.Exec(t.Context(), "UPDATE rate_limits SET tat = tat - $1, taken_at = taken_at - $1", by.Microseconds())
		must(t, err)
	}
	for _, want := range []bool{true, false} {
		if _, refused, err := d.TakeRates(t.Context(), []auth.Rate{r}, true); err != nil || len(refused) != 1 || refused[0].Reserved != want {
			t.Errorf("%v, %v, want reserved %v", refused, err, want)
		}
		pass(auth.ReservationLifetime)
	}
	pass(time.Hour)
	d.mustTake(t, r) // one has come back by itself
	var held int
	must(t, d.pool.QueryRow(t.Context(), "SELECT held FROM rate_limits").Scan(&held))
	if held != 1 {
		t.Errorf("%d are held, want the last one alone", held)
	}
}

// A rate that refuses nothing must not let a success free what others have used up.
func TestALenientRateTakesWhatIsLeftAndRefusesNothing(t *testing.T) {
	t.Parallel()
	d := open(t, Options{URL: dbtest.New(t)})
	lenient, other := rate(1, 2, time.Hour), rate(2, 100, time.Hour)
	lenient.Lenient = true
	strict := rate(1, 2, time.Hour)
	d.mustTake(t, lenient, other)
	d.mustTake(t, strict)
	taken, refused, err := d.TakeRates(t.Context(), []auth.Rate{lenient, other}, true)
	must(t, err)
	if len(refused) != 0 || len(taken) != 1 || taken[0].Key != other.Key {
		t.Fatalf("%v, %v: it is to take from the other alone", taken, refused)
	}
	must(t, d.SettleRates(t.Context(), taken, true))
	if taken, refused, err := d.TakeRates(t.Context(), []auth.Rate{strict}, true); err != nil || taken != nil || len(refused) != 1 {
		t.Errorf("%v, %v, %v", taken, refused, err)
	}
}

// The one that binds is asked for last, when others have taken it in the meantime.
func TestALenientRateIsNotTakenFromWhereAnotherRefuses(t *testing.T) {
	t.Parallel()
	d := open(t, Options{URL: dbtest.New(t)})
	lenient, strict := rate(1, 100, time.Hour), rate(2, 1, time.Hour)
	lenient.Lenient = true
	d.mustTake(t, strict)
	if taken, refused, err := d.TakeRates(t.Context(), []auth.Rate{lenient, strict}, true); err != nil || taken != nil || len(refused) != 1 {
		t.Errorf("%v, %v, %v", taken, refused, err)
	}
	var rows int
	must(t, d.pool.QueryRow(t.Context(), "SELECT count(*) FROM rate_limits").Scan(&rows))
	if rows != 1 {
		t.Errorf("%d rows", rows)
	}
}

// The devices of an account are not to be named by whoever resets them: their owner is.
func TestResettingAnOwnerResetsAllThatItHas(t *testing.T) {
	t.Parallel()
	d := open(t, Options{URL: dbtest.New(t)})
	mine, also, others := rate(1, 1, time.Hour), rate(2, 1, time.Hour), rate(3, 1, time.Hour)
	mine.Owner, also.Owner, others.Owner = ratelimit.Key{9}, ratelimit.Key{9}, ratelimit.Key{8}
	d.mustTake(t, mine, also, others, rate(4, 1, time.Hour))
	if reset := d.mustReset(t, nil, ratelimit.Key{9}); len(reset) != 2 || !slices.Contains(reset, mine.Key) || !slices.Contains(reset, also.Key) {
		t.Errorf("tells of %v", reset)
	}
	d.mustTake(t, mine, also)
	if _, refused, err := d.TakeRates(t.Context(), []auth.Rate{others, rate(4, 1, time.Hour)}, true); err != nil || len(refused) != 2 {
		t.Errorf("others': %v, %v", refused, err)
	}
}

// A login that is refused by the new clock is told of what comes back by it, though a refusal
// writes nothing else.
func TestAClockThatWasSetBackIsMadeUpForByTheFirstLook(t *testing.T) {
	t.Parallel()
	d := open(t, Options{URL: dbtest.New(t)})
	r, other := rate(1, 1, time.Minute), rate(2, 5, time.Minute)
	d.mustTake(t, r, other)
	shift := func(by time.Duration) {
		_, err := d.pool.Exec(t.Context(), "UPDATE rate_limits SET tat = tat + $1, taken_at = taken_at + $1", by.Microseconds())
		must(t, err)
	}
	shift(time.Hour) // the same as a clock that is set back
	if _, refused, err := d.TakeRates(t.Context(), []auth.Rate{other, r}, true); err != nil || len(refused) != 1 {
		t.Fatalf("%v, %v", refused, err)
	}
	shift(-time.Minute) // the same as a minute that passes
	d.mustTake(t, other, r)
}
