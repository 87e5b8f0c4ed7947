package edge

import (
	"net/http"
	"slices"
	"strings"

	"github.com/gin-gonic/gin"

	"gatehouse.example/internal/token"
)

const (
	// deviceCookie begins the name of the cookie with the device token. The account's device name
	// follows. With one cookie for all accounts, a login with another account would overwrite the
	// token of the first. The version before used this name alone.
	deviceCookie = "gatehouse_device"

	// MostDevices is the number of accounts whose device tokens a browser may keep. Each takes a
	// few hundred bytes, sent with every login.
	MostDevices = 8
)

// DevicesOf returns the device tokens in the cookies of a request, by the names of the devices. A
// request from a page of another site has none.
func DevicesOf(c *gin.Context) map[string]string {
	if isCrossSite(c) {
		return nil
	}
	devices := make(map[string]string)
	for _, cookie := range c.Request.Cookies() {
		name, ok := deviceName(cookie.Name)
		if _, twice := devices[name]; ok && !twice {
			devices[name] = cookie.Value
		}
	}
	return devices
}

// deviceName returns the device name in a cookie's name. It is empty for the cookie of the version
// before.
func deviceName(cookie string) (name string, ok bool) {
	if cookie == deviceCookie {
		return "", true
	}
	return strings.CutPrefix(cookie, deviceCookie+"_")
}

// isCrossSite reports whether a page of another site sent the request, as far as the browser says
// so (Fetch Metadata Request Headers, §2.4). Such a page may send a form to /token with an account
// of its own. A page on another host of the same site may belong to an application that logs its
// users in here.
func isCrossSite(c *gin.Context) bool { return c.GetHeader("Sec-Fetch-Site") == "cross-site" }

// SetDevice gives the browser a device token to show at its next login, which is at a path. A page
// of another site gets no cookie, since it could push the cookies of others out. No token is set
// if there is none.
func (e *Edge) SetDevice(c *gin.Context, path, name, device string) {
	if device == "" || isCrossSite(c) {
		return
	}
	cookie := deviceCookie + "_" + name
	http.SetCookie(c.Writer,
		e.newDeviceCookie(c, path, cookie, device, int(token.DeviceLifetime.Seconds())))
	for _, old := range tooMany(c.Request.Cookies(), cookie) {
		http.SetCookie(c.Writer, e.newDeviceCookie(c, path, old, "", -1))
	}
}

// newDeviceCookie makes a cookie for a path and the paths below it. Scripts cannot read it. It is
// sent over TLS only if this request came over TLS, or if the issuer's URL is https.
func (e *Edge) newDeviceCookie(c *gin.Context, path, name, value string, maxAge int) *http.Cookie {
	return &http.Cookie{
		Name: name, Value: value, Path: e.Base() + path, MaxAge: maxAge,
		HttpOnly: true, Secure: e.IsSecure() || OverTLS(c), SameSite: http.SameSiteStrictMode,
	}
}

// tooMany names the device cookies to remove, so that a new one fits. These are the ones that were
// set longest ago. Cookies that were not made here go first.
func tooMany(cookies []*http.Cookie, isNew string) (names []string) {
	others := slices.DeleteFunc(cookies, func(c *http.Cookie) bool {
		return !strings.HasPrefix(c.Name, deviceCookie+"_") || c.Name == isNew
	})
	slices.SortStableFunc(others, func(a, b *http.Cookie) int {
		return token.DeviceExpiry(b.Value).Compare(token.DeviceExpiry(a.Value))
	})
	for _, old := range others[min(MostDevices-1, len(others)):] {
		names = append(names, old.Name)
	}
	return names
}
