// Package web owns the pages for people: which page a request gets, whom it is for, and where the
// browser goes on to. It keeps the browser's session in a cookie. The words and the look of the
// pages are in package pages, and the rules in package auth.
package web

import (
	"context"
	"fmt"
	"net/http"
	"net/url"
	"time"

	"github.com/gin-gonic/gin"

	"gatehouse.example/internal/auth"
	"gatehouse.example/internal/edge"
	"gatehouse.example/internal/web/pages"
)

// Rules are the parts of package auth that the pages call. All are needed.
type Rules struct {
	Registration   *auth.Registration
	Authorizations *auth.Authorizations
	Logouts        *auth.Logouts
	Logins         *auth.Logins
	Browsers       *auth.Browsers
	Sessions       *auth.Sessions
	Consents       *auth.Consents
	Access         *auth.Access
	Personal       *auth.Personal
	Recovery       *auth.Recovery
	Addresses      *auth.Addresses
	Invitations    *auth.Invitations
	Factors        *auth.Factors
}

// Destinations knows the apps to which people go on after a login.
type Destinations interface {
	// Destination returns the title of the app that sent a browser to /authorize with a query, and
	// the redirect URI that the app is answered at. It is not ok for a query that leads to no app.
	Destination(ctx context.Context, query url.Values) (title, redirectURI string, ok bool)
}

// Options are the parts and settings of the pages. All are needed, except Destinations and
// ReturnOrigins.
type Options struct {
	Edge         *edge.Edge
	Rules        Rules
	Pages        *pages.Pages
	Destinations Destinations // nil: there are no apps
	// ReturnOrigins are the origins of other sites to which a login may lead back, such as
	// https://wiki.example.org.
	ReturnOrigins     []string
	RegistrationOpen  bool
	InvitedOnly       bool // if registration is not open, whoever was invited may register
	MailOn            bool // whether mails are sent to accounts
	Email             auth.EmailMode
	TrustedFor        time.Duration // for which a trusted device needs no second step; 0: it does
	MinPasswordLength int           // in characters
	Clock             func() time.Time
}

// Web answers the requests of browsers.
type Web struct {
	Rules
	edge              *edge.Edge
	pages             *pages.Pages
	assets            map[string]pages.Asset // by path
	destinations      Destinations
	returns           returns
	forms             *http.CrossOriginProtection
	registrationOpen  bool
	invitedOnly       bool
	mailOn            bool
	email             auth.EmailMode
	trustedFor        time.Duration
	minPasswordLength int
	clock             func() time.Time
}

// New makes the pages.
func New(o Options) (*Web, error) {
	forms, err := newFormGuard(o.Edge.Issuer())
	if err != nil {
		return nil, err
	}
	w := &Web{
		Rules: o.Rules, edge: o.Edge, pages: o.Pages, assets: make(map[string]pages.Asset),
		destinations: o.Destinations, returns: returns{o.Edge.Base(), o.ReturnOrigins},
		forms: forms, registrationOpen: o.RegistrationOpen, invitedOnly: o.InvitedOnly, mailOn: o.MailOn, email: o.Email,
		trustedFor: o.TrustedFor, minPasswordLength: o.MinPasswordLength,
		clock: o.Clock,
	}
	for _, asset := range o.Pages.Assets() {
		w.assets[asset.Path] = asset
	}
	return w, nil
}

// newFormGuard makes what tells the forms of these pages from those of other sites. A proxy may
// change the Host, so the issuer's origin is trusted by itself.
func newFormGuard(issuer string) (*http.CrossOriginProtection, error) {
	guard := http.NewCrossOriginProtection()
	u, err := url.Parse(issuer)
	if err == nil {
		err = guard.AddTrustedOrigin(u.Scheme + "://" + u.Host)
	}
	if err != nil {
		return nil, fmt.Errorf("issuer: %w", err)
	}
	return guard, nil
}

// Routes returns what the pages answer.
func (w *Web) Routes() []edge.Route {
	var all []edge.Route
	for _, r := range w.table() {
		all = append(all, edge.Route{
			Method: r.method, Path: r.path, Answer: w.edge.Answer(w.asPage, r.serve(w)),
			FromMemory: r.path == assetPath || r.path == pages.ForgetPath,
		})
	}
	return all
}

// Fallbacks answer with a page what has no route, if a person asks for it. A program gets the other
// answer.
func (w *Web) Fallbacks(forPrograms edge.Fallbacks) edge.Fallbacks {
	missing := w.edge.Answer(w.asPage, func(*gin.Context) error { return edge.ErrNotFound })
	forAll := forPrograms
	forAll.NotFound = func(c *gin.Context) {
		if wantsPage(c.Request) {
			missing(c)
		} else {
			forPrograms.NotFound(c)
		}
	}
	return forAll
}
