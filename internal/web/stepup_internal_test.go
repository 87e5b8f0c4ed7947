package web

import (
	"log/slog"
	"net/url"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"gatehouse.example/internal/auth"
	"gatehouse.example/internal/edge"
	"gatehouse.example/internal/web/pages"
)

// A trusted device must not stand in for a second factor that somebody demands, on whichever page
// of the login that is asked.
func TestEveryPageOfALoginKnowsThatASecondFactorIsDemanded(t *testing.T) {
	t.Parallel()
	outermost, err := edge.New(edge.Options{
		Log: slog.New(slog.DiscardHandler), Metrics: prometheus.NewRegistry(),
		Issuer: "https://id.example.org/auth", RequestTimeout: time.Minute,
		ForwardedHeader: edge.ForwardedFor,
	})
	if err != nil {
		t.Fatal(err)
	}
	w := &Web{edge: outermost, returns: someReturns(outermost.Base())}
	const login, wiki = "/auth/login?", "https://wiki.example.org/x"
	for target, want := range map[string]bool{
		"":                              false,
		"/auth/account":                 false,
		wiki:                            false,
		login + "acr=aal2&next=" + wiki: true,
		login + "acr=aal2&max_age=300&next=" + wiki:  true,
		login + "acr=aal1&next=" + wiki:              false,
		login + "max_age=300&next=" + wiki:           false,
		login + "acr=aal2&next=https://evil.example": false,
		login + "acr=aal2":                           false,
		"/auth/authorize?acr_values=aal2":            true,
		"/auth/authorize?acr_values=aal1+aal2":       false,
		"/auth/authorize?acr_values=phr":             false,
		"/auth/authorize?claims=" + url.QueryEscape(
			`{"id_token":{"acr":{"essential":true,"value":"aal2"}}}`): true,
	} {
		to := w.destination(nil, target)
		if got := to.demand.ACR == auth.ACR2; got != want {
			t.Errorf("%s: %v", target, got)
		}
		// as the next page finds it, in its link or its form
		link, err := url.Parse(w.with(pages.LoginPasswordPath, to, nil))
		if err != nil {
			t.Fatal(err)
		}
		again := w.destination(nil, link.Query().Get(pages.NextField))
		if (again.demand.ACR == auth.ACR2) != want || again.demand != to.demand || w.onward(again) != w.onward(to) {
			t.Errorf("%s: on the next page %+v, want %+v", target, again, to)
		}
	}
}
