package app

import (
	"io"
	"log/slog"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"gatehouse.example/internal/auth/authtest"
	"gatehouse.example/internal/config"
	"gatehouse.example/internal/cursor"
	"gatehouse.example/internal/edge"
	"gatehouse.example/internal/httpapi"
	"gatehouse.example/internal/httpapi/apitest"
	"gatehouse.example/internal/keychain"
)

func TestRoutesAreExactlyThePathsOfTheContract(t *testing.T) {
	t.Parallel()
	var served, promised []string
	for _, r := range allRoutes(t) {
		if r.Path != "/docs/*asset" { // files of the page, which are no part of the interface
			served = append(served, r.Method+" "+inTheContract(r.Path))
		}
	}
	for path, item := range apitest.Contract(t).Paths.Map() {
		for method := range item.Operations() {
			promised = append(promised, method+" "+path)
		}
	}
	slices.Sort(served)
	slices.Sort(promised)
	if !slices.Equal(served, promised) {
		t.Errorf("served:   %v\npromised: %v", served, promised)
	}
}

// inTheContract writes a path of the router as the contract does.
func inTheContract(path string) string {
	parts := strings.Split(path, "/")
	for n, part := range parts {
		if part != "" && strings.ContainsAny(part[:1], ":*") {
			parts[n] = "{" + part[1:] + "}"
		}
	}
	return strings.Join(parts, "/")
}

// allRoutes are those of programs and of people. They serve nobody here, since there is no store.
func allRoutes(t *testing.T) []edge.Route {
	t.Helper()
	made := authtest.New(t, nil, authtest.Options{})
	own := &rules{Rules: httpapi.Rules{Signer: made.Signer, Access: made.Access}}
	registry := prometheus.NewRegistry()
	outermost, err := edge.New(edge.Options{
		Log: slog.New(slog.NewTextHandler(io.Discard, nil)), Metrics: registry,
		ForwardedHeader: edge.ForwardedFor, Issuer: "https://id.test", RequestTimeout: time.Minute,
	})
	if err != nil {
		t.Fatal(err)
	}
	secrets, err := keychain.New([][]byte{[]byte(strings.Repeat("k", 32))})
	if err != nil {
		t.Fatal(err)
	}
	api, err := httpapi.New(httpapi.Options{
		Edge: outermost, Rules: own.Rules, Cursors: cursor.New(secrets), Clock: time.Now,
		Metrics: registry,
	})
	if err != nil {
		t.Fatal(err)
	}
	people, err := newWeb(config.Serve{AppName: "Gatehouse"}, Options{Clock: time.Now}, own, outermost)
	if err != nil {
		t.Fatal(err)
	}
	return append(api.Routes(), people.Routes()...)
}
