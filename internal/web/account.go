package web

import (
	"errors"
	"net/url"

	"github.com/gin-gonic/gin"
	"github.com/google/uuid"

	"gatehouse.example/internal/auth"
	"gatehouse.example/internal/edge"
	"gatehouse.example/internal/web/pages"
)

// sessionsPage is how many sessions one page has at most.
const sessionsPage = 20

func (w *Web) getAccount(c *gin.Context, browser auth.Browser) error {
	page, err := w.accountPage(c, browser)
	if err != nil {
		return err
	}
	page.Notice = noticeOf(
		c, pages.NoticePasswordChanged, pages.NoticeSessionEnded, pages.NoticeOthersEnded,
		pages.NoticeOtherUser, pages.NoticeAddressVerified, pages.NoticeAddressRemoved,
		pages.NoticeAppOut,
	)
	return w.render(c, page, destination{})
}

// accountPage shows the account of a session, with a page of the sessions.
func (w *Web) accountPage(c *gin.Context, browser auth.Browser) (pages.Account, error) {
	ctx := c.Request.Context()
	reach, err := w.Access.Account(ctx, browser.Access)
	if err != nil {
		return pages.Account{}, err
	}
	after := uuid.Max
	if given, ok := c.GetQuery(pages.AfterField); ok {
		if after, err = uuid.Parse(given); err != nil {
			return pages.Account{}, edge.ErrNotFound
		}
	}
	found, err := auth.ReadPage(sessionsPage, func(limit int) ([]auth.LoginShown, error) {
		return w.Sessions.Logins(ctx, reach, after, limit)
	})
	if err != nil {
		return pages.Account{}, err
	}
	allowed, err := w.Consents.List(ctx, reach)
	if err != nil {
		return pages.Account{}, err
	}
	page := pages.Account{
		Address:  w.accountAddress(browser.User),
		Username: browser.User.LoginName(), Now: w.clock(), Later: after != uuid.Max,
		MinLength: w.minPasswordLength, Factors: accountFactors(browser.User),
		Passwordless: browser.User.Passwordless, OffersPasskey: w.offersPasskey(browser),
		OfferDays: w.offerDays(c, browser.User),
	}
	for _, session := range found.Items {
		page.Sessions = append(page.Sessions, w.sessionRow(session, browser))
	}
	if last := found.Last(); last != nil {
		page.Older = last.ID.String()
	}
	for _, consent := range allowed {
		page.Apps = append(page.Apps, pages.AllowedApp{
			ID: consent.Client.ID, Title: consent.Client.Title, Asks: consent.Words,
			Since: consent.GrantedAt,
		})
	}
	return page, nil
}

func accountFactors(user auth.User) pages.AccountFactors {
	has := user.Factors
	return pages.AccountFactors{
		Shown: true, App: has.TOTP, Passkeys: has.Passkeys, Codes: has.RecoveryCodes,
	}
}

// sessionRow shows a session to the holder of another one, who may be a thief ([auth.Session]).
func (w *Web) sessionRow(login auth.LoginShown, browser auth.Browser) pages.Session {
	session, isCurrent := login.Session, login.ID == browser.Access.SessionID
	if !isCurrent {
		session = session.Blunted(w.clock())
	}
	return pages.Session{
		ID: session.ID.String(), UserAgent: session.Caller.UserAgent,
		Address: session.Caller.Address, LastUsed: session.LastUsedAt, Current: isCurrent,
		App: session.Caller.Client.Title, Apps: login.Apps,
	}
}

// postAccountSessions ends another session, or all others.
func (w *Web) postAccountSessions(c *gin.Context, browser auth.Browser) error {
	form, ctx := formOf(c), c.Request.Context()
	reach, err := w.Access.Account(ctx, browser.Access)
	if err != nil {
		return err
	}
	if form[pages.ChoiceField] == pages.ChoiceOthers {
		if err := w.Sessions.EndAll(ctx, reach, browser.Access.SessionID); err != nil {
			return err
		}
		return w.toAccount(c, pages.NoticeOthersEnded)
	}
	id, err := uuid.Parse(form[pages.SessionField])
	if err != nil {
		return edge.ErrInvalidRequest
	}
	err = w.Sessions.End(ctx, reach, id)
	if errors.Is(err, auth.ErrSessionNotFound) {
		return w.toAccount(c, "") // it is over, as another tab may have seen already
	}
	if err != nil {
		return err
	}
	return w.toAccount(c, pages.NoticeSessionEnded)
}

// postAccountApps takes back what an app was allowed.
func (w *Web) postAccountApps(c *gin.Context, browser auth.Browser) error {
	ctx := c.Request.Context()
	reach, err := w.Access.Account(ctx, browser.Access)
	if err != nil {
		return err
	}
	err = w.Consents.Withdraw(ctx, reach, formOf(c)[pages.ClientField])
	if errors.Is(err, auth.ErrConsentNotFound) {
		return w.toAccount(c, "") // as a session that is over
	}
	if err != nil {
		return err
	}
	return w.toAccount(c, pages.NoticeAppOut)
}

// postAccountPassword gives the account another password, and this session another cookie.
func (w *Web) postAccountPassword(c *gin.Context, browser auth.Browser) error {
	form := formOf(c)
	grant, err := w.Logins.ChangePasswordInBrowser(c.Request.Context(), browser.Access,
		form[pages.CurrentField], form[pages.NewField])
	switch {
	case err != nil && isTold(err):
		return w.passwordAgain(c, browser, err)
	case err != nil:
		return err
	}
	w.begin(c, grant)
	return w.toAccount(c, pages.NoticePasswordChanged)
}

func (w *Web) passwordAgain(c *gin.Context, browser auth.Browser, err error) error {
	page, unread := w.accountPage(c, browser)
	if unread != nil {
		return err
	}
	page.CurrentProblem = currentPasswordProblem(err)
	page.NewProblem = w.newPasswordProblem(c, err, pages.NewField)
	page.Failure = failureOf(err)
	return &again{page, destination{}, err}
}

func (w *Web) toAccount(c *gin.Context, done pages.Notice) error {
	query := url.Values{}
	if done != "" {
		query.Set(noticeField, string(done))
	}
	return w.redirect(c, w.with(pages.AccountPath, destination{}, query))
}
