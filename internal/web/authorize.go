package web

import (
	"errors"
	"net/http"
	"net/url"
	"strings"

	"github.com/gin-gonic/gin"

	"gatehouse.example/internal/auth"
	"gatehouse.example/internal/edge"
	"gatehouse.example/internal/outcome"
	"gatehouse.example/internal/web/pages"
)

// getAuthorize is the authorization endpoint (RFC 6749 §3.1, OpenID Connect Core §3.1.2).
func (w *Web) getAuthorize(c *gin.Context) error {
	if c.Request.Method == http.MethodHead { // a code would be made that nobody reads
		return edge.ErrMethodNotAllowed
	}
	query, err := url.ParseQuery(c.Request.URL.RawQuery)
	if err != nil {
		return edge.ErrMalformed
	}
	request, err := w.Authorizations.Parse(c.Request.Context(), query)
	if err != nil {
		return w.refuse(c, request, err)
	}
	edge.NoteOf(c).ClientID = request.Client.ID
	return w.authorize(c, request, query)
}

// authorize takes the next step of a request.
func (w *Web) authorize(c *gin.Context, r auth.AuthorizationRequest, query url.Values) error {
	session, err := w.sessionOrNone(c)
	if err != nil {
		return err
	}
	step, err := w.Authorizations.Decide(c.Request.Context(), r, session)
	if err != nil {
		return w.refuse(c, r, err)
	}
	switch step {
	case auth.StepLogin:
		query.Set(auth.DemandParameter, w.Authorizations.DemandLogin(r, session))
		return w.toLogin(c, query)
	case auth.StepChoose:
		return w.toLogin(c, withoutChoice(query))
	case auth.StepConsent:
		return w.render(c, pages.Consent{
			Username: session.User.LoginName(), App: r.Client.Title, Asks: r.Asks(),
			Next: w.authorizeURL(query),
		}, destination{title: r.Client.Title, uri: r.RedirectURI, query: query})
	}
	return w.issue(c, r, *session, query)
}

// issue sends the browser back to the app with a code.
func (w *Web) issue(
	c *gin.Context, r auth.AuthorizationRequest, session auth.Browser, query url.Values,
) error {
	to, err := w.Authorizations.Issue(c.Request.Context(), r, session)
	if errors.Is(err, auth.ErrSessionNotFound) { // it has ended since it was read
		return w.toLogin(c, query)
	}
	if err != nil {
		return err
	}
	return w.redirect(c, to)
}

// postAuthorize sends the browser on to the same request by GET. A form of another site brings no
// cookie with it (SameSite=Lax), so nobody would be logged in.
func (w *Web) postAuthorize(c *gin.Context) error {
	const resources = "resource" // may come several times (RFC 8707 §2)
	form, err := edge.ReadForm(c, resources)
	if err != nil {
		return err
	}
	query := url.Values{}
	for name, value := range form {
		query.Set(name, value)
	}
	query[resources] = strings.Fields(form[resources])
	to := w.authorizeURL(query)
	if len(to) > maxNext {
		return edge.ErrTooLarge
	}
	return w.redirect(c, to)
}

// postConsent is the answer of a user whether an app may have what it asks for.
func (w *Web) postConsent(c *gin.Context) error {
	form := formOf(c)
	query, ok := w.returns.query(form[pages.NextField], authorizePath)
	if !ok {
		return edge.ErrInvalidRequest
	}
	request, err := w.Authorizations.Parse(c.Request.Context(), query)
	if err != nil {
		return w.refuse(c, request, err)
	}
	edge.NoteOf(c).ClientID = request.Client.ID
	session, err := w.sessionOrNone(c)
	if err != nil {
		return err
	}
	step, err := w.Authorizations.Decide(c.Request.Context(), request, session)
	switch {
	case err != nil:
		return w.refuse(c, request, err)
	case step != auth.StepConsent, !isMeant(form, *session):
		// Somebody has logged out or in meanwhile, or has answered before.
		return w.redirect(c, form[pages.NextField])
	case form[pages.ChoiceField] != pages.ChoiceAllow:
		return w.refuse(c, request, w.Authorizations.Deny(c.Request.Context(), request, *session))
	}
	if err := w.Authorizations.Allow(c.Request.Context(), request, *session); err != nil {
		return err
	}
	return w.issue(c, request, *session, query)
}

// refuse tells the app of an error where that is safe, and else the person.
func (w *Web) refuse(c *gin.Context, r auth.AuthorizationRequest, err error) error {
	known, ok := outcome.Of(err)
	if r.RedirectURI == "" || !ok || known.IsFault() {
		return err
	}
	answer, _ := edge.AnswerTo(err)
	edge.NoteOf(c).Refuse(err)
	return w.redirect(c, w.Authorizations.Answer(r, url.Values{
		"error": {answer.OAuth}, "error_description": {known.Error()},
	}))
}

// sessionOrNone is sessionOf with nil for nobody.
func (w *Web) sessionOrNone(c *gin.Context) (*auth.Browser, error) {
	session, ok, err := w.sessionOf(c)
	if err != nil || !ok {
		return nil, err
	}
	return &session, nil
}

// toLogin sends the browser to the login, from which it comes back to the request.
func (w *Web) toLogin(c *gin.Context, query url.Values) error {
	return w.redirect(c, w.loginURL(w.destination(c, w.authorizeURL(query))))
}

func (w *Web) authorizeURL(query url.Values) string {
	return w.path(authorizePath) + "?" + query.Encode()
}

// withoutChoice is the query of a request once the user has chosen an account at the login.
func withoutChoice(query url.Values) url.Values {
	query.Set("prompt", auth.WithoutPrompt(query.Get("prompt"), auth.PromptSelectAccount))
	return query
}
