package app

import (
	"context"
	"log/slog"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"gatehouse/internal/auth"
)

const (
	// keysPoll bounds how long a changed signing key may stay unknown where no notification comes. It is well under what the
	// rules allow for.
	keysPoll = 5 * time.Second

	keysTimeout = 10 * time.Second // the first key of RS256 takes a while to make
)

// signingKeys keeps the ring of a replica up to date.
type signingKeys struct {
	service *auth.Service
	log     *slog.Logger
	hint    chan struct{} // something has changed
	end     context.CancelFunc
	follow  sync.WaitGroup
	loads   prometheus.Counter
}

func newSigningKeys(service *auth.Service, log *slog.Logger, r prometheus.Registerer) *signingKeys {
	k := &signingKeys{service: service, log: log, hint: make(chan struct{}, 1), end: func() {}}
	k.loads = prometheus.NewCounter(prometheus.CounterOpts{
		Name: "gatehouse_signing_keys_loads_total", Help: "Times that the signing keys were read.",
	})
	r.MustRegister(k.loads)
	return k
}

// changed has the ring read soon. It does not wait.
func (k *signingKeys) changed() {
	select {
	case k.hint <- struct{}{}:
	default: // it is about to be
	}
}

// start follows the ring, which was loaded, until stop: also after ctx has ended, which is when the drain begins.
func (k *signingKeys) start(ctx context.Context) {
	following, end := context.WithCancel(context.WithoutCancel(ctx))
	k.end = end
	k.follow.Go(func() { k.loop(following) })
}

// stop returns when nothing uses the database any more.
func (k *signingKeys) stop() {
	k.end()
	k.follow.Wait()
}

func (k *signingKeys) loop(ctx context.Context) {
	ticker := time.NewTicker(keysPoll)
	defer ticker.Stop()
	failing := false
	for {
		select {
		case <-ctx.Done():
			return
		case <-k.hint:
		case <-ticker.C:
		}
		err := k.load(ctx)
		switch {
		case ctx.Err() != nil:
			return
		case err != nil && !failing:
			k.log.Warn("signing keys cannot be read", "error", err.Error())
		case err == nil && failing:
			k.log.Info("signing keys are read again")
		}
		failing = err != nil
	}
}

// load reads the ring. An error that is not auth.ErrUnavailable is one that no waiting mends: SECRET_KEY is not that of the
// database.
func (k *signingKeys) load(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, keysTimeout)
	defer cancel()
	if err := k.service.LoadRing(ctx); err != nil {
		return err
	}
	k.loads.Inc()
	return nil
}

// upkeep does what is due for the keys: a rotation takes some steps, and days between them.
func (k *signingKeys) upkeep() job {
	return job{"signing_keys", time.Minute, 1, func(ctx context.Context, _ int) (int64, error) {
		changed, err := k.service.TendSigningKeys(ctx)
		if !changed {
			return 0, err
		}
		return 1, err // and perhaps there is another step
	}}
}
