package main

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
)

// versus is Gatehouse and another at the same work, in turn.
type versus struct {
	me    string // where a peer tells whose token it is
	token string // of the peer
	login func(ctx context.Context, client *http.Client) error
}

// against measures the user of a token, /verify, and logins, each with the same clients; the ratios are in this order.
func (s *stage) against(ctx context.Context, o options, peer versus) ([]float64, string, error) {
	sessions, err := s.sessions(ctx, 1)
	if err != nil {
		return nil, "", err
	}
	people, err := s.people(ctx)
	if err != nil {
		return nil, "", err
	}
	replica, err := s.replica(ctx, "replica 1")
	if err != nil {
		return nil, "", err
	}
	theirs, err := wrk(ctx, s, peer.me, []string{peer.token}, o.measure)
	if err != nil {
		return nil, "", err
	}
	ours, err := wrk(ctx, s, replica.url+"/users/me", tokens(sessions), o.measure)
	if err != nil {
		return nil, "", err
	}
	verified, err := wrk(ctx, s, replica.url+"/verify", tokens(sessions), o.measure)
	if err != nil {
		return nil, "", err
	}
	client := newClient()
	defer client.CloseIdleConnections()
	theirLogins, err := loop(ctx, 4*serviceCores(), 2*o.measure, func(ctx context.Context, _ int) error { return peer.login(ctx, client) })
	if err != nil {
		return nil, "", err
	}
	ourLogins, err := loginLoop(ctx, replica.url, people, 2*o.measure)
	return []float64{ours.rps / theirs.rps, verified.rps / theirs.rps, ourLogins / theirLogins}, fmt.Sprintf(
		"a token's user: %s, peer %s; /verify %s; logins %.2f/s, peer %.2f/s", ours, theirs, verified, ourLogins, theirLogins), err
}

// fastAPI is the service of the tutorial, in bench/peers.
func fastAPI(ctx context.Context, s *stage, o options) ([]float64, string, error) {
	addr := freeAddr()
	host, port, _ := strings.Cut(addr, ":")
	// The documentation's advice: a worker for each processor; without a line in the log for each request.
	p, err := s.start(ctx, "fastapi", addr, "http://"+addr+"/openapi.json", nil, "uvicorn", "--app-dir", "bench/peers", "tutorial:app",
		"--host", host, "--port", port, "--workers", strconv.Itoa(serviceCores()), "--no-access-log", "--log-level", "warning")
	if err != nil {
		return nil, "", err
	}
	form := loginForm("johndoe", "secret")
	body, err := grant(ctx, http.DefaultClient, p.url, form)
	if err != nil {
		return nil, "", err
	}
	return s.against(ctx, o, versus{
		me: p.url + "/users/me", token: body.AccessToken,
		login: func(ctx context.Context, client *http.Client) error {
			_, err := grant(ctx, client, p.url, form)
			return err
		},
	})
}

// goTrue is supabase/auth, with the settings of its example and as many database connections as Gatehouse.
func goTrue(ctx context.Context, s *stage, o options) ([]float64, string, error) {
	p, err := s.goTrue(ctx, o)
	if err != nil {
		return nil, "", err
	}
	login := func(ctx context.Context, client *http.Client) (string, error) {
		return goTrueToken(ctx, client, p.url+"/token?grant_type=password")
	}
	access, err := login(ctx, http.DefaultClient)
	if err != nil {
		return nil, "", err
	}
	values, detail, err := s.against(ctx, o, versus{
		me: p.url + "/user", token: access,
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

func (s *stage) goTrue(ctx context.Context, o options) (*program, error) {
	if p, ok := s.started["gotrue"]; ok {
		return p, nil
	}
	address := strings.Replace(s.database.URL(), "/postgres?", "/gotrue?", 1)
	for _, sql := range []struct{ at, do string }{{s.database.URL(), "CREATE DATABASE gotrue"}, {address, "CREATE SCHEMA auth"}} {
		if err := execute(ctx, sql.at, sql.do); err != nil {
			return nil, err
		}
	}
	addr := freeAddr()
	host, port, _ := strings.Cut(addr, ":")
	env := []string{
		"GOTRUE_DB_DRIVER=postgres", "DB_NAMESPACE=auth", "DATABASE_URL=" + address + "&search_path=auth",
		fmt.Sprintf("GOTRUE_DB_MAX_POOL_SIZE=%d", max(10, 4*serviceCores())),
		"GOTRUE_JWT_SECRET=" + secretKey, "GOTRUE_JWT_EXP=3600", "GOTRUE_JWT_AUD=authenticated", "GOTRUE_SITE_URL=" + issuerURL,
		"API_EXTERNAL_URL=http://" + addr, "GOTRUE_API_HOST=" + host, "PORT=" + port, "GOTRUE_MAILER_AUTOCONFIRM=true",
		"GOTRUE_EXTERNAL_EMAIL_ENABLED=true", "GOTRUE_LOG_LEVEL=warn",
	}
	migrate := exec.CommandContext(ctx, o.gotrue, "migrate")
	migrate.Env = append(os.Environ(), env...)
	if out, err := migrate.CombinedOutput(); err != nil {
		return nil, fmt.Errorf("gotrue migrate: %w: %s", err, lastLine(out))
	}
	p, err := s.start(ctx, "gotrue", addr, "http://"+addr+"/health", env, o.gotrue, "serve")
	if err != nil {
		return nil, err
	}
	_, err = goTrueToken(ctx, http.DefaultClient, p.url+"/signup")
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
	body, err := json.Marshal(map[string]string{"email": "johndoe@example.com", "password": password})
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
	var answer granted
	if err := json.Unmarshal(text, &answer); err != nil || answer.AccessToken == "" {
		return "", errors.Join(err, fmt.Errorf("%s: %s: %s", url, response.Status, text))
	}
	return answer.AccessToken, nil
}
