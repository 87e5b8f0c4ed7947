package rows

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"strconv"
	"strings"

	"github.com/jackc/pgx/v5"
	vegeta "github.com/tsenart/vegeta/v12/lib"

	"gatehouse.example/bench/internal/api"
	"gatehouse.example/bench/internal/load"
	"gatehouse.example/bench/internal/machine"
	"gatehouse.example/bench/internal/stage"
)

// versus is Gatehouse and another at the same work, in turn.
type versus struct {
	me    string // where a peer tells whose token it is
	token string // of the peer
	login func(ctx context.Context, client *http.Client) error
}

// against measures the user of a token, /verify, and logins, each with the same clients; the ratios
// are in this order.
func (s *Run) against(ctx context.Context, o Options, peer versus) ([]float64, string, error) {
	sessions, err := s.Sessions(ctx, 1)
	if err != nil {
		return nil, "", err
	}
	people, err := s.People(ctx)
	if err != nil {
		return nil, "", err
	}
	replica, err := s.Replica(ctx, "replica 1")
	if err != nil {
		return nil, "", err
	}
	theirs, err := wrk(ctx, s, peer.me, []string{peer.token}, o.Measure)
	if err != nil {
		return nil, "", err
	}
	ours, err := wrk(ctx, s, replica.URL+"/users/me", stage.Tokens(sessions), o.Measure)
	if err != nil {
		return nil, "", err
	}
	verified, err := wrk(ctx, s, replica.URL+"/verify", stage.Tokens(sessions), o.Measure)
	if err != nil {
		return nil, "", err
	}
	client := api.NewClient()
	defer client.CloseIdleConnections()
	theirLogins, err := load.ClosedLoop(ctx, 4*machine.ServiceCores(), 2*o.Measure, func(ctx context.Context, _ int) error { return peer.login(ctx, client) })
	if err != nil {
		return nil, "", err
	}
	ourLogins, err := loginLoop(ctx, replica.URL, people, 2*o.Measure)
	return []float64{ours.RPS / theirs.RPS, verified.RPS / theirs.RPS, ourLogins / theirLogins}, fmt.Sprintf(
		"a token's user: %s, peer %s; /verify %s; logins %.2f/s, peer %.2f/s", ours, theirs, verified, ourLogins, theirLogins), err
}

// fastAPI is the service of the tutorial, in bench/peers.
func fastAPI(ctx context.Context, s *Run, o Options) ([]float64, string, error) {
	addr := stage.FreeAddr()
	host, port, _ := strings.Cut(addr, ":")
	// The documentation's advice: a worker for each processor; without a line in the log for each
	// request.
	p, err := s.Start(ctx, "fastapi", addr, "http://"+addr+"/openapi.json", nil, "uvicorn", "--app-dir", "bench/peers", "tutorial:app",
		"--host", host, "--port", port, "--workers", strconv.Itoa(machine.ServiceCores()), "--no-access-log", "--log-level", "warning")
	if err != nil {
		return nil, "", err
	}
	form := api.LoginForm("johndoe", "secret")
	body, err := api.Grant(ctx, http.DefaultClient, p.URL, form)
	if err != nil {
		return nil, "", err
	}
	return s.against(ctx, o, versus{
		me: p.URL + "/users/me", token: body.AccessToken,
		login: func(ctx context.Context, client *http.Client) error {
			_, err := api.Grant(ctx, client, p.URL, form)
			return err
		},
	})
}

// goTrue is supabase/auth, with the settings of its example and as many database connections as
// Gatehouse.
func goTrue(ctx context.Context, s *Run, o Options) ([]float64, string, error) {
	p, err := s.goTrue(ctx, o)
	if err != nil {
		return nil, "", err
	}
	login := func(ctx context.Context, client *http.Client) (string, error) {
		return goTrueToken(ctx, client, p.URL+"/token?grant_type=password")
	}
	access, err := login(ctx, http.DefaultClient)
	if err != nil {
		return nil, "", err
	}
	values, detail, err := s.against(ctx, o, versus{
		me: p.URL + "/user", token: access,
		login: func(ctx context.Context, client *http.Client) error {
			_, err := login(ctx, client)
			return err
		},
	})
	if err != nil {
		return nil, "", err
	}
	return []float64{values[0], values[2]}, detail, nil
}

func (s *Run) goTrue(ctx context.Context, o Options) (*stage.Program, error) {
	if p, ok := s.Started["gotrue"]; ok {
		return p, nil
	}
	address := strings.Replace(s.Database.URL(), "/postgres?", "/gotrue?", 1)
	for _, sql := range []struct{ at, do string }{{s.Database.URL(), "CREATE DATABASE gotrue"}, {address, "CREATE SCHEMA auth"}} {
		if err := execute(ctx, sql.at, sql.do); err != nil {
			return nil, err
		}
	}
	addr := stage.FreeAddr()
	host, port, _ := strings.Cut(addr, ":")
	env := []string{
		"GOTRUE_DB_DRIVER=postgres", "DB_NAMESPACE=auth", "DATABASE_URL=" + address + "&search_path=auth",
		fmt.Sprintf("GOTRUE_DB_MAX_POOL_SIZE=%d", max(10, 4*machine.ServiceCores())),
		"GOTRUE_JWT_SECRET=" + stage.SecretKey, "GOTRUE_JWT_EXP=3600", "GOTRUE_JWT_AUD=authenticated", "GOTRUE_SITE_URL=" + stage.IssuerURL,
		"API_EXTERNAL_URL=http://" + addr, "GOTRUE_API_HOST=" + host, "PORT=" + port, "GOTRUE_MAILER_AUTOCONFIRM=true",
		"GOTRUE_EXTERNAL_EMAIL_ENABLED=true", "GOTRUE_LOG_LEVEL=warn",
	}
	migrate := exec.CommandContext(ctx, o.Gotrue, "migrate")
	migrate.Env = append(os.Environ(), env...)
	if out, err := migrate.CombinedOutput(); err != nil {
		return nil, fmt.Errorf("gotrue migrate: %w: %s", err, lastLine(out))
	}
	p, err := s.Start(ctx, "gotrue", addr, "http://"+addr+"/health", env, o.Gotrue, "serve")
	if err != nil {
		return nil, err
	}
	_, err = goTrueToken(ctx, http.DefaultClient, p.URL+"/signup")
	return p, err
}

func execute(ctx context.Context, databaseURL, sql string) error {
	conn, err := pgx.Connect(ctx, databaseURL)
	if err != nil {
		return err
	}
	defer conn.Close(ctx)
	_, err = conn.Exec(ctx, sql)
	return err
}

// goTrueToken sends name and password and returns the token of the answer.
func goTrueToken(ctx context.Context, client *http.Client, url string) (string, error) {
	body, err := json.Marshal(map[string]string{"email": "johndoe@example.com", "password": api.Password})
	if err != nil {
		return "", err
	}
	target := vegeta.Target{Method: http.MethodPost, URL: url, Body: body, Header: http.Header{"Content-Type": {"application/json"}}}
	request, err := target.Request()
	if err != nil {
		return "", err
	}
	response, err := client.Do(request.WithContext(ctx))
	if err != nil {
		return "", err
	}
	defer response.Body.Close()
	text, err := io.ReadAll(response.Body)
	if err != nil {
		return "", err
	}
	var answer api.Granted
	if err := json.Unmarshal(text, &answer); err != nil || answer.AccessToken == "" {
		return "", errors.Join(err, fmt.Errorf("%s: %s: %s", url, response.Status, text))
	}
	return answer.AccessToken, nil
}
