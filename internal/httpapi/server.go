// Package httpapi owns the interface for programs: the routes and who may call them, how JSON is
// read, and how results and errors are written. The contract is api/openapi.yaml.
package httpapi

import (
	"time"

	"github.com/gin-gonic/gin"
	"github.com/prometheus/client_golang/prometheus"

	"gatehouse.example/api"
	"gatehouse.example/internal/auth"
	"gatehouse.example/internal/cursor"
	"gatehouse.example/internal/edge"
	"gatehouse.example/internal/token"
)

// Rules are the parts of package auth that the routes call. All are needed.
type Rules struct {
	Registration *auth.Registration
	Accounts     *auth.Accounts
	Addresses    *auth.Addresses
	Personal     *auth.Personal
	Recovery     *auth.Recovery
	Invitations  *auth.Invitations
	Logins       *auth.Logins
	Browsers     *auth.Browsers
	Tokens       *auth.Tokens
	Sessions     *auth.Sessions
	Consents     *auth.Consents
	Access       *auth.Access
	Limits       *auth.Limits
	Roles        *auth.Roles
	Clients      *auth.Clients
	Signer       *auth.Signer
	IDTokens     *auth.IDTokens
	Feed         *auth.Feed
	Audit        *auth.Audit
}

// Options are the parts and settings of the interface. All are needed.
type Options struct {
	Edge             *edge.Edge
	Rules            Rules
	Cursors          cursor.Cursors
	Clock            func() time.Time
	Metrics          prometheus.Registerer
	RegistrationOpen bool
	PasswordGrant    bool // whether passwords are exchanged for tokens
	MailOn           bool // whether mails are sent to accounts
	Email            auth.EmailMode
	// LoginFor returns the URL of the login for the browser about whose request a proxy asks, or ""
	// if it is not to be sent there.
	LoginFor func(*gin.Context, token.StepUp) string
	// LanguageFor returns the language of whoever asks, such as "en", for what is mailed to them.
	LanguageFor func(*gin.Context) string
}

// API answers the requests of programs.
type API struct {
	Rules
	edge             *edge.Edge
	cursors          cursor.Cursors
	clock            func() time.Time
	metrics          *metrics
	registrationOpen bool
	passwordGrantOn  bool
	mailOn           bool
	email            auth.EmailMode
	loginFor         func(*gin.Context, token.StepUp) string
	languageFor      func(*gin.Context) string
	grants           map[string]grantHandler
	routes           []route
}

// New makes an API.
func New(o Options) (*API, error) {
	m, err := newMetrics(o.Metrics)
	if err != nil {
		return nil, err
	}
	a := &API{
		Rules: o.Rules, edge: o.Edge, cursors: o.Cursors, clock: o.Clock, metrics: m,
		registrationOpen: o.RegistrationOpen, passwordGrantOn: o.PasswordGrant,
		mailOn: o.MailOn, email: o.Email, loginFor: o.LoginFor, languageFor: o.LanguageFor,
	}
	a.grants = a.allGrants()
	wellKnown, err := newWellKnown(o.Rules.Signer, o.Edge.Issuer(), a.grantTypes())
	if err != nil {
		return nil, err
	}
	docs, err := newDocs(api.Service{Base: o.Edge.Base(), PasswordGrant: o.PasswordGrant})
	if err != nil {
		return nil, err
	}
	a.routes = a.table(docs, wellKnown)
	return a, nil
}

// Routes returns what the API answers.
func (a *API) Routes() []edge.Route {
	all := a.mounted(a.routes)
	for _, r := range a.mounted(verifyRoutes(a.gatekeeper())) {
		r.FromMemory = true
		all = append(all, r)
	}
	return all
}

func (a *API) mounted(routes []route) (all []edge.Route) {
	for _, r := range routes {
		all = append(all, edge.Route{Method: r.method, Path: r.path, Answer: r.serve(a),
			Sharing: sharingOf(r.path)})
	}
	return all
}

// Fallbacks answer what nothing else does.
func (a *API) Fallbacks() edge.Fallbacks {
	return edge.Fallbacks{
		NotFound: route{guard: anybody,
			handle: func(*gin.Context) error { return edge.ErrNotFound }}.serve(a),
		MethodNotAllowed: route{guard: anybody, errors: asRefusal, handle: verifyOr(a.gatekeeper(),
			func(*gin.Context) error { return edge.ErrMethodNotAllowed })}.serve(a),
	}
}

// metrics count refreshes.
type metrics struct {
	refreshes *prometheus.CounterVec
}

func newMetrics(r prometheus.Registerer) (*metrics, error) {
	m := &metrics{
		refreshes: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "gatehouse_refreshes_total", Help: "Refreshes by outcome.",
		}, []string{"outcome"}),
	}
	return m, r.Register(m.refreshes)
}
