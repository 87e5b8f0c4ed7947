package app

import (
	"errors"
	"io"
	"os"

	"gatehouse.example/internal/auth"
	"gatehouse.example/internal/config"
	"gatehouse.example/internal/edge"
	"gatehouse.example/internal/web"
	"gatehouse.example/internal/web/pages"
)

// newWeb makes the pages for people.
func newWeb(s config.Serve, o Options, rules *rules, outermost *edge.Edge) (*web.Web, error) {
	rendered, err := newPages(s, outermost.Base())
	if err != nil {
		return nil, err
	}
	return web.New(web.Options{
		Edge: outermost,
		Rules: web.Rules{
			Registration: rules.Registration, Authorizations: rules.authorizations,
			Logouts: rules.logouts, Logins: rules.Logins, Browsers: rules.Browsers,
			Sessions: rules.Sessions, Consents: rules.Consents, Access: rules.Access, Personal: rules.Personal,
			Recovery: rules.Recovery, Invitations: rules.Invitations, Addresses: rules.Addresses,
			Factors: rules.factors,
		},
		Pages: rendered, Destinations: rules.authorizations, ReturnOrigins: s.ReturnOrigins,
		RegistrationOpen: s.Registration == "open", InvitedOnly: s.Registration == "invite", MailOn: mailOn(s, o),
		Email:             auth.EmailMode(s.Email),
		TrustedFor:        s.TrustedDeviceLifetime,
		MinPasswordLength: s.PasswordMinLength,
		Clock:             o.Clock,
	})
}

// newPages makes what the pages look like in this installation.
func newPages(s config.Serve, base string) (*pages.Pages, error) {
	logo, err := readLogo(s.AppLogo)
	if err != nil {
		return nil, &config.Error{Setting: "APP_LOGO", Problem: err.Error()}
	}
	rendered, err := pages.New(pages.Options{AppName: s.AppName, Base: base, Logo: logo})
	if errors.Is(err, pages.ErrLogo) {
		err = &config.Error{Setting: "APP_LOGO", Problem: err.Error()}
	}
	return rendered, err
}

// readLogo reads the logo of an installation, or nothing if it has none. It reads one byte more
// than a logo may have, so that package pages sees that it is too big.
func readLogo(name string) ([]byte, error) {
	if name == "" {
		return nil, nil
	}
	file, err := os.Open(name)
	if err != nil {
		return nil, err
	}
	defer file.Close()
	logo, err := io.ReadAll(io.LimitReader(file, pages.MaxLogo+1))
	if err == nil && len(logo) == 0 {
		err = pages.ErrLogo
	}
	return logo, err
}
