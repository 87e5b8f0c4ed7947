package web

import (
	"net/http"
	"net/url"
	"strings"

	"github.com/gin-gonic/gin"

	"gatehouse.example/internal/auth"
	"gatehouse.example/internal/edge"
	"gatehouse.example/internal/web/pages"
)

// logout is a request to end the session of the browser (OpenID Connect RP-Initiated Logout §2).
type logout struct {
	auth.LogoutRequest
	given map[string]string // what comes back with the answer of the person
}

// logoutParameters are those that have a meaning here.
func logoutParameters() []string {
	return []string{
		"id_token_hint", "client_id", "post_logout_redirect_uri", "state", "ui_locales",
	}
}

// getEndSession ends the session of the browser if an ID token of its user proves that the app
// means it. If none does, it asks.
func (w *Web) getEndSession(c *gin.Context) error {
	if c.Request.Method == http.MethodHead {
		return edge.ErrMethodNotAllowed
	}
	query, err := url.ParseQuery(c.Request.URL.RawQuery)
	if err != nil {
		return edge.ErrMalformed
	}
	given := map[string]string{}
	for _, name := range logoutParameters() {
		if len(query[name]) > 1 {
			return edge.ErrInvalidRequest
		}
		given[name] = query.Get(name)
	}
	asked, err := w.parseLogout(c, given)
	if err != nil {
		return err
	}
	session, err := w.sessionOrNone(c)
	switch {
	case err != nil:
		return err
	case session == nil:
		return w.loggedOut(c, asked)
	case asked.Means(session.User):
		return w.endAndLeave(c, *session, asked)
	}
	return w.render(c, pages.EndSession{
		Username: session.User.LoginName(), App: asked.Client.Title, Hidden: asked.hidden(),
	}, asked.destination())
}

// postEndSession is the answer of a person, or the request of an app by a form. The latter brings
// no cookie, so it is sent on by GET.
func (w *Web) postEndSession(c *gin.Context) error {
	form, err := edge.ReadForm(c)
	if err != nil {
		return err
	}
	if form[pages.ChoiceField] != pages.ChoiceLogOut || w.forms.Check(c.Request) != nil {
		return w.redirect(c, w.endSessionURL(form))
	}
	asked, err := w.parseLogout(c, form)
	if err != nil {
		return err
	}
	session, err := w.sessionOrNone(c)
	if err != nil {
		return err
	}
	switch {
	case session == nil:
		return w.leave(c, asked)
	case !isMeant(form, *session): // ask whoever is logged in now
		return w.redirect(c, w.endSessionURL(form))
	}
	return w.endAndLeave(c, *session, asked)
}

func (w *Web) parseLogout(c *gin.Context, given map[string]string) (logout, error) {
	asked, err := w.Logouts.Parse(c.Request.Context(), auth.LogoutParameters{
		IDTokenHint: given["id_token_hint"], ClientID: given["client_id"],
		PostLogoutRedirectURI: given["post_logout_redirect_uri"], State: given["state"],
	})
	if err != nil {
		return logout{}, err
	}
	edge.NoteOf(c).ClientID = asked.Client.ID
	return logout{asked, given}, nil
}

func (w *Web) endAndLeave(c *gin.Context, session auth.Browser, asked logout) error {
	if err := w.end(c, session); err != nil {
		return err
	}
	return w.leave(c, asked)
}

// leave sends the browser to where the app wants it, or to the page that says that it is done.
func (w *Web) leave(c *gin.Context, asked logout) error {
	if to := asked.Onward(); to != "" {
		return w.redirect(c, to)
	}
	return w.redirect(c, w.path(pages.EndSessionPath))
}

// loggedOut is for somebody who is not logged in.
func (w *Web) loggedOut(c *gin.Context, asked logout) error {
	if to := asked.Onward(); to != "" {
		return w.redirect(c, to)
	}
	return w.render(c, pages.LoggedOut{App: asked.Client.Title}, destination{})
}

// endSessionURL is the page with what an app has sent by a form.
func (w *Web) endSessionURL(form map[string]string) string {
	query := url.Values{}
	for _, name := range logoutParameters() {
		if form[name] != "" {
			query.Set(name, form[name])
		}
	}
	return strings.TrimSuffix(w.path(pages.EndSessionPath)+"?"+query.Encode(), "?")
}

func (l logout) hidden() (all []pages.Hidden) {
	for _, name := range logoutParameters() {
		if value := l.given[name]; value != "" {
			all = append(all, pages.Hidden{Name: name, Value: value})
		}
	}
	return all
}

func (l logout) destination() destination {
	return destination{
		title: l.Client.Title, uri: l.PostLogoutRedirectURI,
		query: url.Values{"ui_locales": {l.given["ui_locales"]}},
	}
}
