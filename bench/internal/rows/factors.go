package rows

import (
	"context"
	"fmt"
	"math"
	"net/url"
	"strconv"
	"sync/atomic"
	"time"

	"github.com/google/uuid"

	"gatehouse.example/bench/internal/api"
	"gatehouse.example/bench/internal/load"
	"gatehouse.example/bench/internal/machine"
	"gatehouse.example/bench/internal/stage"
	"gatehouse.example/internal/otp"
)

// factors are logins on the pages with second factors, and with passkeys alone ÷ those with the
// password alone.
func factors(ctx context.Context, s *Run, o Options) ([]float64, string, error) {
	binary, err := s.LowCostBuild(ctx)
	if err != nil {
		return nil, "", err
	}
	service, err := s.Service(ctx, "factors", binary, s.Database.URL(), "BCRYPT_COST="+strconv.Itoa(o.Cost), "ADDRESS_REGISTRATIONS=0")
	if err != nil {
		return nil, "", err
	}
	first := randomName()
	if err := api.Register(ctx, service.URL, first); err != nil {
		return nil, "", err
	}
	client := api.NewClient()
	defer client.CloseIdleConnections()
	// A code is good once, and no processor hashes more than 1,000 passwords a second.
	users := 1000 * machine.ServiceCores() * int(math.Ceil(o.Measure.Seconds()))
	var rates []float64
	for n, login := range []func(provers, context.Context, api.Browser, string) error{
		provers.password, provers.passwordAndCode, provers.passwordAndPasskey, provers.passkey,
	} {
		people := provers{}
		if people.names, err = s.Copies(ctx, first, users); err != nil {
			return nil, "", err
		}
		if n > 0 {
			if people.app, err = s.GiveApps(ctx, people.names); err != nil {
				return nil, "", err
			}
			if people.passkeys, err = s.GivePasskeys(ctx, people.names); err != nil {
				return nil, "", err
			}
		}
		var next atomic.Int64
		rate, err := load.ClosedLoop(ctx, 4*machine.ServiceCores(), o.Measure, func(ctx context.Context, _ int) error {
			return login(people, ctx, api.NewBrowser(client, service.URL), people.names[int(next.Add(1))%users])
		})
		if err != nil {
			return nil, "", err
		}
		rates = append(rates, rate)
	}
	at12 := func(n int) float64 {
		each := float64(machine.ServiceCores())
		return ratioAtCost12([2]float64{rates[n] / each, rates[0] / each}, o.Cost)
	}
	return []float64{rates[1] / rates[0], rates[2] / rates[0], rates[3] / rates[0]}, fmt.Sprintf(
		"password %.0f logins/s, with a code %.0f/s, with a passkey %.0f/s, a passkey alone %.0f/s at bcrypt cost %d; the first two make ratios of %.3f and %.3f at cost 12",
		rates[0], rates[1], rates[2], rates[3], o.Cost, at12(1), at12(2)), nil
}

// provers are users, and what they prove besides the password.
type provers struct {
	names    []string
	app      otp.Secret
	passkeys stage.Passkeys
}

func (p provers) password(ctx context.Context, b api.Browser, username string) error {
	to := "/"
	if p.app != nil {
		to = "/login/factor"
	}
	return b.Post(ctx, "/login", to, url.Values{"username": {username}, "password": {api.Password}})
}

func (p provers) passwordAndCode(ctx context.Context, b api.Browser, username string) error {
	if err := p.password(ctx, b, username); err != nil {
		return err
	}
	return b.Post(ctx, "/login/factor", "/", url.Values{"factor": {p.app.Code(otp.Step(time.Now()))}})
}

func (p provers) passwordAndPasskey(ctx context.Context, b api.Browser, username string) error {
	if err := p.password(ctx, b, username); err != nil {
		return err
	}
	return p.prove(ctx, b, username, "/login/factor/passkey", "/login/factor")
}

func (p provers) passkey(ctx context.Context, b api.Browser, username string) error {
	return p.prove(ctx, b, username, "/login/passkey", "/login/passkey")
}

// prove asks for the options of a passkey, and sends its answer.
func (p provers) prove(ctx context.Context, b api.Browser, username, options, to string) error {
	asked, err := b.Get(ctx, options)
	if err != nil {
		return err
	}
	answer, err := p.passkeys.Answer(uuid.MustParse(username), asked)
	if err != nil {
		return err
	}
	return b.Post(ctx, to, "/", url.Values{"passkey": {answer}})
}
