package rows

import (
	"context"
	"fmt"
	"time"

	"gatehouse.example/bench/internal/api"
	"gatehouse.example/bench/internal/load"
	"gatehouse.example/bench/internal/machine"
)

// codes are logins of an app by an authorization code, where the user has a session already.
func codes(ctx context.Context, s *Run, o Options) ([]float64, string, error) {
	const (
		clients = 8
		each    = 250 // browsers of a client, in turn: one alone may not be logged in so often
	)
	replica, err := s.Replica(ctx, "replica 1")
	if err != nil {
		return nil, "", err
	}
	app := api.App{
		ID: "bench", RedirectURI: "https://app.example/callback",
		Verifier: "a-verifier-with-more-than-43-characters-0123456789",
	}
	if err := s.App(ctx, app.ID, app.RedirectURI); err != nil {
		return nil, "", err
	}
	cookies, err := s.Browsers(ctx, clients*each)
	if err != nil {
		return nil, "", err
	}
	client := api.NewClient()
	defer client.CloseIdleConnections()
	took := make([][]time.Duration, clients)
	var logins float64
	shares, err := s.Shares(func() (err error) {
		logins, err = load.ClosedLoop(ctx, clients, o.Measure, func(ctx context.Context, n int) error {
			began, cookie := time.Now(), cookies[n*each+len(took[n])%each]
			_, err := api.Code(ctx, client, replica.URL, cookie, app)
			took[n] = append(took[n], time.Since(began))
			return err
		})
		return err
	})
	if err != nil {
		return nil, "", err
	}
	for _, all := range took {
		s.sample("a login by code, 8 clients", all)
	}
	return []float64{logins / float64(machine.ServiceCores())}, fmt.Sprintf("%.0f logins/s; %s", logins, shares), nil
}
