package app

import (
	"context"
	"log/slog"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"gatehouse.example/db"
	"gatehouse.example/internal/auth"
	"gatehouse.example/internal/follow"
)

const (
	// keysPoll bounds how long a changed signing key stays unknown where no notification comes. It
	// is far less than the rules allow for.
	keysPoll = 5 * time.Second

	// keysRetry is the pause after a failure: nobody can log in while the keys are too old.
	keysRetry = 500 * time.Millisecond

	keysTimeout = 10 * time.Second // the first key of RS256 takes a while to make
)

// signingKeys is the component that keeps a replica's ring of signing keys up to date, once the
// ring is loaded.
type signingKeys struct {
	background
	loader *auth.KeyLoader
	loads  prometheus.Counter
}

// newSigningKeys makes the component, which hears of news from a listener.
func newSigningKeys(
	loader *auth.KeyLoader, listener *db.Listener, log *slog.Logger, r prometheus.Registerer,
) *signingKeys {
	k := &signingKeys{loader: loader, loads: prometheus.NewCounter(prometheus.CounterOpts{
		Name: "gatehouse_signing_keys_loads_total", Help: "Times that the signing keys were read.",
	})}
	r.MustRegister(k.loads)
	hint := follow.NewHint()
	listener.Subscribe(db.KeyChanges(hint.Give))
	k.run = follow.Loop{
		Step: func(ctx context.Context, _ bool) error { return k.load(ctx) }, Hint: hint,
		Every: keysPoll, Retry: keysRetry, Log: log,
		Failing: "signing keys cannot be read", Recovered: "signing keys are read again",
	}.Run
	return k
}

// begin loads the ring at the start. That proves SECRET_KEY by the keys that it opens. Then begin
// puts SECRET_KEY on record.
func (k *signingKeys) begin(ctx context.Context) error {
	if err := k.load(ctx); err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, keysTimeout)
	defer cancel()
	return k.loader.ClaimSecrets(ctx)
}

// load reads the ring. An error other than [auth.ErrUnavailable] is one that no waiting mends:
// SECRET_KEY is not that of the database.
func (k *signingKeys) load(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, keysTimeout)
	defer cancel()
	if err := k.loader.Load(ctx); err != nil {
		return err
	}
	k.loads.Inc()
	return nil
}

// upkeep does what is due for the keys. A rotation takes some steps, with days between them.
func (k *signingKeys) upkeep() job {
	return job{"signing_keys", time.Minute, 1, func(ctx context.Context, _ int) (int64, error) {
		changed, err := k.loader.Tend(ctx)
		if !changed {
			return 0, err
		}
		return 1, err // perhaps there is another step
	}}
}
