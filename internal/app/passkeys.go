package app

import (
	"log/slog"
	"net/url"
	"slices"
	"strings"

	"gatehouse.example/internal/config"
	"gatehouse.example/internal/passkey"
)

// newRelyingParty makes what asks for passkeys by the settings, or nil where there can be none: at
// an address in place of a name, and at a site without https. That is an error only where a setting
// asks for them.
func newRelyingParty(s config.Serve, log *slog.Logger) (*passkey.RelyingParty, error) {
	issuer, err := url.Parse(s.Issuer)
	if err != nil {
		return nil, &config.Error{Setting: "ISSUER", Problem: "must be a URL"}
	}
	id := s.WebAuthnRPID
	if id == "" {
		id = strings.ToLower(issuer.Hostname())
	}
	rp, err := passkey.New(passkey.Config{
		RPID: id, RPName: s.AppName,
		Origins: slices.Concat([]string{originOf(issuer)}, s.WebAuthnOrigins),
	})
	switch {
	case err == nil:
		return rp, nil
	case s.WebAuthnRPID != "":
		return nil, &config.Error{Setting: "WEBAUTHN_RP_ID", Problem: err.Error()}
	case len(s.WebAuthnOrigins) > 0:
		return nil, &config.Error{Setting: "WEBAUTHN_ORIGINS", Problem: err.Error()}
	}
	log.Info("there are no passkeys", "reason", err.Error())
	return nil, nil
}

// originOf is the origin of a URL, as browsers write it.
func originOf(u *url.URL) string {
	host := strings.ToLower(u.Host)
	for scheme, port := range map[string]string{"http": ":80", "https": ":443"} {
		if u.Scheme == scheme {
			host = strings.TrimSuffix(host, port)
		}
	}
	return u.Scheme + "://" + host
}
