package httpapi

import (
	"net/http"
	"net/netip"
	"strings"

	"github.com/gin-gonic/gin"

	"gatehouse/internal/auth"
	"gatehouse/internal/token"
)

// ForwardedFor and Forwarded are the headers in which a proxy may name its client.
const (
	ForwardedFor = "X-Forwarded-For"
	Forwarded    = "Forwarded" // RFC 7239
)

// origin is where a request came from, as far as it is known for certain.
type origin struct {
	trusted bool       // from a proxy whose headers are believed
	client  netip.Addr // invalid if even the peer's cannot be read, which does not happen over TCP
	tls     bool       // over the wire or to the proxy
}

// originOf goes from the peer to the client, hop by hop, as long as a trusted proxy tells of the next. Addresses are
// unmapped and have no zone, since they are compared.
func (s *server) originOf(r *http.Request) origin {
	var o origin
	if peer, err := netip.ParseAddrPort(r.RemoteAddr); err == nil {
		o.client = plain(peer.Addr())
	}
	o.tls = r.TLS != nil
	o.trusted = s.trusts(o.client)
	if !o.trusted {
		return o
	}
	hops := hopsOf(r.Header, s.forwardedHeader)
	o.tls = o.tls || overTLS(r.Header, s.forwardedHeader, hops)
	for n := len(hops) - 1; n >= 0 && s.trusts(o.client); n-- {
		next, ok := parseNode(hops[n].node)
		if !ok {
			break // what stands before it was told to a proxy that is not known
		}
		o.client = next
	}
	return o
}

func (s *server) trusts(addr netip.Addr) bool {
	for _, network := range s.trustedProxies {
		if network.Contains(addr) {
			return true
		}
	}
	return false
}

func plain(addr netip.Addr) netip.Addr { return addr.Unmap().WithZone("") }

// hop is what a proxy said of the one before it.
type hop struct{ node, proto string }

// hopsOf are those of all lines of a header, the one next to this service last.
func hopsOf(h http.Header, name string) []hop {
	var hops []hop
	for _, line := range h[name] {
		if name == Forwarded {
			hops = append(hops, parseForwarded(line)...)
			continue
		}
		for node := range strings.SplitSeq(line, ",") {
			hops = append(hops, hop{node: strings.Trim(node, " \t")})
		}
	}
	return hops
}

func overTLS(h http.Header, name string, hops []hop) bool {
	if name == Forwarded {
		return len(hops) > 0 && strings.EqualFold(hops[len(hops)-1].proto, "https")
	}
	return h.Get("X-Forwarded-Proto") == "https"
}

// parseForwarded takes a line of Forwarded apart (RFC 7239 §4). Of an element that is malformed, what cannot be read is
// empty, and so no address. A line with a quote that does not end tells of nobody: a client may have opened it, so that what
// its proxy has added is taken for the rest of the client's own words.
func parseForwarded(line string) []hop {
	elements, ok := splitUnquoted(line, ',')
	if !ok {
		return []hop{{}}
	}
	hops := make([]hop, len(elements))
	for n, element := range elements {
		pairs, _ := splitUnquoted(element, ';')
		for _, pair := range pairs {
			name, value, _ := strings.Cut(strings.Trim(pair, " \t"), "=")
			switch strings.ToLower(name) {
			case "for":
				hops[n].node = unquote(value)
			case "proto":
				hops[n].proto = unquote(value)
			}
		}
	}
	return hops
}

// splitUnquoted splits at a separator that is not in a quoted-string (RFC 9110 §5.6.4), if each of those has an end.
func splitUnquoted(text string, separator byte) (parts []string, ok bool) {
	start, quoted := 0, false
	for n := 0; n < len(text); n++ {
		switch {
		case quoted && text[n] == '\\':
			n++
		case text[n] == '"':
			quoted = !quoted
		case text[n] == separator && !quoted:
			parts = append(parts, text[start:n])
			start = n + 1
		}
	}
	return append(parts, text[start:]), !quoted
}

// unquote does not undo escapes: no address has one.
func unquote(value string) string {
	if len(value) >= 2 && value[0] == '"' && value[len(value)-1] == '"' {
		return value[1 : len(value)-1]
	}
	return value
}

// parseNode reads an address, perhaps with a port (RFC 7239 §6; some proxies write one into X-Forwarded-For too). "unknown"
// and names that hide an address are none.
func parseNode(node string) (netip.Addr, bool) {
	if withPort, err := netip.ParseAddrPort(node); err == nil {
		return plain(withPort.Addr()), true
	}
	inner, bracketed := strings.CutPrefix(node, "[")
	inner, closed := strings.CutSuffix(inner, "]")
	addr, err := netip.ParseAddr(inner)
	if err != nil || bracketed != closed || bracketed && addr.Is4() {
		return netip.Addr{}, false
	}
	return plain(addr), true
}

const (
	// deviceHeader and deviceCookie carry the token by which a device is known, both ways.
	deviceHeader = "Gatehouse-Device"
	deviceCookie = "gatehouse_device"
)

func clientOf(c *gin.Context) auth.Client {
	device := c.GetHeader(deviceHeader)
	if cookie, err := c.Request.Cookie(deviceCookie); device == "" && err == nil {
		device = cookie.Value
	}
	client := auth.Client{Address: addressOf(c), UserAgent: c.Request.UserAgent(), Device: device}
	if known, ok := c.Get(oauthClientKey); ok {
		client.OAuth = known.(auth.OAuthClient)
	}
	return client
}

// addressOf is the client's, as it is logged.
func addressOf(c *gin.Context) string {
	if client := c.Writer.(*noted).origin.client; client.IsValid() {
		return client.String()
	}
	return ""
}

// setDevice lets a browser, or another client, show at its next login that this device is known.
func setDevice(c *gin.Context, device string) {
	if device == "" {
		return
	}
	c.Header(deviceHeader, device)
	http.SetCookie(c.Writer, &http.Cookie{
		Name: deviceCookie, Value: device, Path: "/token", MaxAge: int(token.DeviceLifetime.Seconds()),
		HttpOnly: true, Secure: c.Writer.(*noted).origin.tls, SameSite: http.SameSiteStrictMode,
	})
}
