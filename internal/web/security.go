package web

import (
	"context"
	"errors"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/gin-gonic/gin"
	"github.com/google/uuid"

	"gatehouse.example/internal/auth"
	"gatehouse.example/internal/edge"
	"gatehouse.example/internal/web/pages"
)

// getSecurity shows how the owner of an account logs in.
func (w *Web) getSecurity(c *gin.Context, browser auth.Browser) error {
	page, err := w.securityPage(c, browser)
	if err != nil {
		return err
	}
	page.Notice = noticeOf(
		c, pages.NoticeFactorAdded, pages.NoticePasskeyRenamed, pages.NoticeFactorRemoved,
		pages.NoticePasswordRemoved, pages.NoticeDeviceForgotten,
	)
	return w.render(c, page, destination{})
}

func (w *Web) securityPage(c *gin.Context, browser auth.Browser) (pages.Security, error) {
	shown, err := w.Factors.Of(c.Request.Context(), browser.User.ID)
	if err != nil {
		return pages.Security{}, err
	}
	page := pages.Security{
		Username: browser.User.LoginName(), Now: w.clock(), MaySetUp: w.Factors.MaySetUp(browser.User),
		MakesPasskeys: w.makesPasskeys(browser.User), Codes: shown.RecoveryCodes,
		Passwordless: shown.User.Passwordless, MayRemovePassword: shown.MayRemovePassword(),
	}
	if at := shown.TOTPSince; at != nil {
		page.App, page.AppSince = true, *at
	}
	for _, one := range shown.Passkeys {
		row := pages.Passkey{
			ID: one.ID.String(), Name: one.Name, Made: one.CreatedAt, Synced: one.BackedUp,
		}
		if one.LastUsedAt != nil {
			row.LastUsed = *one.LastUsedAt
		}
		page.Passkeys = append(page.Passkeys, row)
	}
	for _, device := range shown.Devices {
		page.Devices = append(page.Devices, pages.TrustedDevice{
			ID: device.ID.String(), UserAgent: device.Caller.UserAgent,
			Address: device.Caller.Address, Until: device.ExpiresAt,
		})
	}
	return page, nil
}

func (w *Web) makesPasskeys(user auth.User) bool {
	return w.Factors.MaySetUp(user) && w.Factors.HasPasskeys()
}

// enroller is who sends a form that changes factors.
func enroller(c *gin.Context, browser auth.Browser) auth.Enroller {
	return auth.Enroller{
		Browser: browser, EndOthers: formOf(c)[pages.OthersField] == checked,
	}
}

// proved is loggedIn for a page whose form wants a fresh proof. Whoever has none logs in once more
// first, and not after the form is filled in.
func (w *Web) proved(handle func(*gin.Context, auth.Browser) error) edge.Handler {
	return w.loggedIn(func(c *gin.Context, browser auth.Browser) error {
		if err := browser.ProvedAnew(); err != nil {
			return err
		}
		return handle(c, browser)
	})
}

// stepUp sends a browser to prove anew who its user is. From there it comes back to the page with
// the form, or to that with the way to it.
func (w *Web) stepUp(c *gin.Context, err error) error {
	insufficient, ok := errors.AsType[*auth.InsufficientError](err)
	if !ok {
		return err
	}
	back := strings.TrimPrefix(c.Request.URL.EscapedPath(), w.edge.Base())
	if !slices.Contains(localPaths(), back) {
		back = pages.SecurityPath
		if !strings.HasPrefix(c.FullPath(), pages.SecurityPath) {
			back = pages.AccountPath
		}
	}
	query := url.Values{
		pages.NextField: {w.path(back)}, noticeField: {string(pages.NoticeProveFirst)},
	}
	insufficient.Demand.AddTo(query)
	return w.redirect(c, w.path(pages.LoginPath)+"?"+query.Encode())
}

// changed leads on after a change of factors: to new recovery codes, if there are any.
func (w *Web) changed(
	c *gin.Context, browser auth.Browser, change auth.FactorChange, done pages.Notice,
) error {
	if change.Browser.Cookie != "" {
		w.begin(c, change.Browser)
	}
	if len(change.Codes) > 0 {
		back := w.destination(c, w.path(pages.SecurityPath))
		return w.showCodes(c, browser.User.Username, change.Codes, back)
	}
	return w.toSecurity(c, done)
}

func (w *Web) toSecurity(c *gin.Context, done pages.Notice) error {
	return w.redirect(c, w.with(pages.SecurityPath, destination{}, url.Values{
		noticeField: {string(done)},
	}))
}

// notChanged says on the page of all factors why something was not done.
func (w *Web) notChanged(c *gin.Context, browser auth.Browser, err error) error {
	if !isTold(err) {
		return err
	}
	page, unread := w.securityPage(c, browser)
	if unread != nil {
		return err
	}
	page.Failure = failureOf(err)
	return &again{page, destination{}, err}
}

func (w *Web) getApp(c *gin.Context, browser auth.Browser) error {
	switch {
	case !w.Factors.MaySetUp(browser.User):
		return auth.ErrFactorsOff
	case browser.User.Factors.TOTP:
		return w.redirect(c, w.path(pages.SecurityPath))
	}
	return w.render(c, pages.SetUpApp{
		Username: browser.User.LoginName(), App: appOffer(w.Factors.NewTOTP(browser.User)),
		Others: true,
	}, destination{})
}

// postApp sets up an authenticator app, or removes it.
func (w *Web) postApp(c *gin.Context, browser auth.Browser) error {
	form, ctx := formOf(c), c.Request.Context()
	if form[pages.ChoiceField] == pages.ChoiceRemove {
		change, err := w.Factors.RemoveTOTP(ctx, enroller(c, browser))
		if err != nil {
			return w.notChanged(c, browser, err)
		}
		return w.changed(c, browser, change, pages.NoticeFactorRemoved)
	}
	who := enroller(c, browser)
	change, err := w.Factors.ConfirmTOTP(ctx, who, form[pages.SealedField], form[pages.FactorField])
	switch failure := failureOf(err); {
	case err == nil:
		return w.changed(c, browser, change, pages.NoticeFactorAdded)
	case failure.Why == pages.WrongFactor, failure.Why == pages.EnrolLate:
		return &again{pages.SetUpApp{
			Username: browser.User.LoginName(), App: w.sameApp(browser.User, form), Others: who.EndOthers,
			Failure: failure,
		}, destination{}, err}
	}
	return w.notChanged(c, browser, err)
}

// sameApp is the offer that a form has sent back, or another one if that is not good any more.
func (w *Web) sameApp(user auth.User, form map[string]string) pages.AppOffer {
	same, err := w.Factors.SameTOTP(user, form[pages.SealedField])
	if err != nil {
		same = w.Factors.NewTOTP(user)
	}
	return appOffer(same)
}

func (w *Web) getAddPasskey(c *gin.Context, browser auth.Browser) error {
	if !w.makesPasskeys(browser.User) {
		return auth.ErrFactorsOff
	}
	return w.render(c, pages.NewPasskey{
		Username: browser.User.LoginName(), Name: deviceName(c), Others: true,
	}, destination{})
}

// getNewPasskey returns what the script has the browser make a passkey with.
func (w *Web) getNewPasskey(c *gin.Context) error {
	return w.optionsOf(c, w.Factors.PasskeyOptions)
}

// getOfferedPasskey is getNewPasskey for one that the browser makes of its own accord.
func (w *Web) getOfferedPasskey(c *gin.Context) error {
	return w.optionsOf(c, w.Factors.OfferedPasskeyOptions)
}

// optionsOf answers a script, which no redirect to a page would help.
func (w *Web) optionsOf(
	c *gin.Context, of func(context.Context, auth.Enroller) ([]byte, error),
) error {
	browser, ok, err := w.sessionOf(c)
	if err == nil && !ok {
		err = auth.ErrInvalidToken
	}
	if err != nil {
		return err
	}
	options, err := of(c.Request.Context(), auth.Enroller{Browser: browser})
	return w.options(c, options, err)
}

func (w *Web) postAddPasskey(c *gin.Context, browser auth.Browser) error {
	form, who := formOf(c), enroller(c, browser)
	change, err := w.Factors.AddPasskey(c.Request.Context(), who, form[pages.PasskeyNameField],
		[]byte(form[pages.PasskeyField]))
	switch failure := failureOf(err); {
	case err == nil:
		return w.changed(c, browser, change, pages.NoticeFactorAdded)
	case failure.Why == pages.PasskeyRefused, failure.Why == pages.PasskeyTaken:
		return &again{pages.NewPasskey{
			Username: browser.User.LoginName(), Name: form[pages.PasskeyNameField],
			Others: who.EndOthers, Failure: failure,
		}, destination{}, err}
	}
	return w.notChanged(c, browser, err)
}

// offersPasskey reports whether the browser may make a passkey of its own accord. The login must
// have been a moment ago and by the password, which is what a password manager looks at. An account
// with the password alone gets none like this: from then on it would ask for something that its
// owner has never seen.
func (w *Web) offersPasskey(browser auth.Browser) bool {
	user := browser.User
	return w.makesPasskeys(user) && user.Factors.Any() && !user.Passwordless &&
		slices.Contains(browser.Methods, "pwd") && !slices.Contains(browser.Methods, "pop") &&
		browser.ProvedAnew() == nil
}

// postOfferedPasskey adds a passkey that the browser has made of its own accord.
func (w *Web) postOfferedPasskey(c *gin.Context, browser auth.Browser) error {
	if !w.offersPasskey(browser) {
		return edge.ErrInvalidRequest
	}
	_, err := w.Factors.AddPasskeyAsOffered(c.Request.Context(), enroller(c, browser), deviceName(c),
		[]byte(formOf(c)[pages.PasskeyField]))
	if err != nil {
		return err
	}
	return w.toSecurity(c, pages.NoticeFactorAdded)
}

// passkeyOf finds the passkey that a path names. Errors: [edge.ErrNotFound].
func (w *Web) passkeyOf(c *gin.Context, browser auth.Browser) (auth.Passkey, error) {
	id, err := uuid.Parse(c.Param("id"))
	if err != nil {
		return auth.Passkey{}, edge.ErrNotFound
	}
	shown, err := w.Factors.Of(c.Request.Context(), browser.User.ID)
	if err != nil {
		return auth.Passkey{}, err
	}
	for _, one := range shown.Passkeys {
		if one.ID == id {
			return one, nil
		}
	}
	return auth.Passkey{}, edge.ErrNotFound
}

func (w *Web) getPasskey(c *gin.Context, browser auth.Browser) error {
	one, err := w.passkeyOf(c, browser)
	if err != nil {
		return err
	}
	return w.render(c, pages.ChangePasskey{
		Username: browser.User.LoginName(), ID: one.ID.String(), Name: one.Name,
	}, destination{})
}

// postPasskey renames a passkey, or removes it.
func (w *Web) postPasskey(c *gin.Context, browser auth.Browser) error {
	form, ctx := formOf(c), c.Request.Context()
	id, err := uuid.Parse(c.Param("id"))
	if err != nil {
		return edge.ErrNotFound
	}
	if form[pages.ChoiceField] == pages.ChoiceRemove {
		change, err := w.Factors.RemovePasskey(ctx, enroller(c, browser), id)
		if err != nil {
			return w.notChanged(c, browser, err)
		}
		return w.changed(c, browser, change, pages.NoticeFactorRemoved)
	}
	err = w.Factors.RenamePasskey(ctx, enroller(c, browser), id, form[pages.PasskeyNameField])
	if err != nil {
		return w.notChanged(c, browser, err)
	}
	return w.toSecurity(c, pages.NoticePasskeyRenamed)
}

func (w *Web) postRecoveryCodes(c *gin.Context, browser auth.Browser) error {
	change, err := w.Factors.NewRecoveryCodes(c.Request.Context(), enroller(c, browser))
	if err != nil {
		return w.notChanged(c, browser, err)
	}
	return w.changed(c, browser, change, "")
}

// postDevices forgets one trusted device, or all.
func (w *Web) postDevices(c *gin.Context, browser auth.Browser) error {
	form := formOf(c)
	device := uuid.Nil
	if form[pages.ChoiceField] != pages.ChoiceAll {
		var err error
		if device, err = uuid.Parse(form[pages.DeviceField]); err != nil || device == uuid.Nil {
			return edge.ErrInvalidRequest
		}
	}
	err := w.Factors.ForgetDevices(c.Request.Context(), enroller(c, browser), device)
	if err != nil {
		return w.notChanged(c, browser, err)
	}
	return w.toSecurity(c, pages.NoticeDeviceForgotten)
}

func (w *Web) postNoPassword(c *gin.Context, browser auth.Browser) error {
	change, err := w.Factors.RemovePassword(c.Request.Context(), enroller(c, browser))
	if err != nil {
		return w.notChanged(c, browser, err)
	}
	return w.changed(c, browser, change, pages.NoticePasswordRemoved)
}

// laterFor is how long the offer of a second step stays away that was put off.
const laterFor = 30 * 24 * time.Hour

// offerDays is for how long the offer of a second step can be put off; 0: there is none. It is for
// those who act on the accounts of others.
func (w *Web) offerDays(c *gin.Context, user auth.User) int {
	manages := slices.ContainsFunc(user.Permissions, auth.Permission.IsOwn)
	if !manages || user.Factors.Any() || !w.Factors.MaySetUp(user) || w.edge.HasPutOff(c.Request) {
		return 0
	}
	return daysOf(laterFor)
}

func (w *Web) postLater(c *gin.Context, _ auth.Browser) error {
	w.edge.PutOff(c, laterFor)
	return w.toAccount(c, "")
}
