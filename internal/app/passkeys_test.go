package app

import (
	"errors"
	"io"
	"log/slog"
	"strings"
	"testing"

	"gatehouse.example/internal/asynctest"
	"gatehouse.example/internal/config"
)

// Passkeys under a wrong id, or at a wrong origin, are good for nothing, and nobody would know why.
func TestPasskeysAreBoundToTheHostOfTheIssuerUnlessASettingSaysOtherwise(t *testing.T) {
	t.Parallel()
	const issuer = "https://Login.example.org:443/auth"
	for _, test := range []struct {
		issuer, id string
		origins    []string
		want       string // the RP ID; "": there are no passkeys
		setting    string // that is refused
	}{
		{issuer: issuer, want: "login.example.org"},
		{issuer: "http://localhost:8000", want: "localhost"},
		{issuer: issuer, id: "example.org", origins: []string{"https://wiki.example.org"}, want: "example.org"},
		{issuer: "http://127.0.0.1:8000"},
		{issuer: "http://login.example.org"},
		{issuer: issuer, id: "example.net", setting: "WEBAUTHN_RP_ID"},
		{issuer: issuer, id: "org", setting: "WEBAUTHN_RP_ID"},
		{issuer: "http://127.0.0.1:8000", id: "127.0.0.1", setting: "WEBAUTHN_RP_ID"},
		{issuer: issuer, origins: []string{"https://wiki.example.org"}, setting: "WEBAUTHN_ORIGINS"},
		{issuer: issuer, origins: []string{"http://login.example.org"}, setting: "WEBAUTHN_ORIGINS"},
	} {
		rp, err := newRelyingParty(config.Serve{
			Issuer: test.issuer, WebAuthnRPID: test.id, WebAuthnOrigins: test.origins, AppName: "Gatehouse",
		}, slog.New(slog.NewTextHandler(io.Discard, nil)))
		refused := &config.Error{}
		_ = errors.As(err, &refused)
		id := ""
		if rp != nil {
			id = rp.ID()
		}
		if id != test.want || refused.Setting != test.setting {
			t.Errorf("%+v: %q, %v", test, id, err)
		}
	}
}

func TestTheLogSaysThatThereAreNoPasskeys(t *testing.T) {
	t.Parallel()
	var log asynctest.Buffer
	_, err := newRelyingParty(config.Serve{Issuer: "http://127.0.0.1:8000", AppName: "Gatehouse"},
		slog.New(slog.NewTextHandler(&log, nil)))
	if err != nil || !strings.Contains(log.String(), "there are no passkeys") {
		t.Errorf("%v: %s", err, log.String())
	}
}
