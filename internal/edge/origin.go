package edge

import (
	"net/http"
	"net/netip"
	"strings"

	"github.com/gin-gonic/gin"

	"gatehouse.example/internal/auth"
)

// ForwardedFor and Forwarded are the headers in which a proxy may name its client.
const (
	ForwardedFor = "X-Forwarded-For"
	Forwarded    = "Forwarded" // RFC 7239
)

// Origin is where a request came from, as far as that is certain.
type Origin struct {
	trusted bool // the peer is a proxy whose headers are believed
	// invalid if the peer's address cannot be read, which does not happen over TCP
	client netip.Addr
	TLS    bool // the connection to us, or the one to the first trusted proxy, uses TLS
}

// originOf walks from the peer to the client, hop by hop, as long as a trusted proxy names the next
// hop. Addresses are unmapped and without a zone, because they are compared.
func (e *Edge) originOf(r *http.Request) Origin {
	var o Origin
	if peer, err := netip.ParseAddrPort(r.RemoteAddr); err == nil {
		o.client = plain(peer.Addr())
	}
	o.TLS = r.TLS != nil
	o.trusted = e.trusts(o.client)
	if !o.trusted {
		return o
	}
	hops := hopsOf(r.Header, e.forwardedHeader)
	told := 0 // hops that trusted proxies have named, one each
	for told < len(hops) && e.trusts(o.client) {
		told++
		next, ok := parseNode(hops[len(hops)-told].node)
		if !ok {
			break // an unknown proxy was told the rest of the list
		}
		o.client = next
	}
	o.TLS = o.TLS || overTLS(schemesOf(r.Header, e.forwardedHeader, hops), told)
	return o
}

func (e *Edge) trusts(addr netip.Addr) bool {
	for _, network := range e.trustedProxies {
		if network.Contains(addr) {
			return true
		}
	}
	return false
}

func plain(addr netip.Addr) netip.Addr { return addr.Unmap().WithZone("") }

// hop is what a proxy says of the peer before it.
type hop struct{ node, proto string }

// hopsOf returns the hops of all lines of a header. The last is the one next to this service.
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

// schemesOf returns the scheme by which each proxy was reached, as the proxy says itself, in the
// order of hopsOf.
func schemesOf(h http.Header, name string, hops []hop) (schemes []string) {
	if name == Forwarded {
		for _, hop := range hops {
			schemes = append(schemes, hop.proto)
		}
		return schemes
	}
	for _, line := range h["X-Forwarded-Proto"] {
		for scheme := range strings.SplitSeq(line, ",") {
			schemes = append(schemes, strings.Trim(scheme, " \t"))
		}
	}
	return schemes
}

// overTLS reports whether the client used TLS to the first of the trusted proxies, of which there
// is at least one. Earlier entries of the list were told to that proxy, perhaps by the client. The
// list is shorter where proxies pass the scheme on.
func overTLS(schemes []string, proxies int) bool {
	first := max(0, len(schemes)-max(1, proxies))
	return first < len(schemes) && strings.EqualFold(schemes[first], "https")
}

// parseForwarded parses a line of Forwarded (RFC 7239 §4). What cannot be read in a malformed
// element is empty, and so is no address. A line with an open quote names nobody. A client may have
// opened the quote, so that what its proxy added looks like the rest of the client's own words.
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

// splitUnquoted splits at a separator outside quoted-strings (RFC 9110 §5.6.4). It is not ok if a
// quoted-string has no end.
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

// unquote removes the quotes. It does not undo escapes, because no address has one.
func unquote(value string) string {
	if len(value) >= 2 && value[0] == '"' && value[len(value)-1] == '"' {
		return value[1 : len(value)-1]
	}
	return value
}

// parseNode reads an address, perhaps with a port (RFC 7239 §6). Some proxies write a port into
// X-Forwarded-For too. "unknown" and obfuscated names are no addresses.
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

// CallerOf describes the caller of a request, for the rules and for the user's list of sessions.
func CallerOf(c *gin.Context) auth.Caller {
	return auth.Caller{Address: AddressOf(c), UserAgent: c.Request.UserAgent()}
}

// AddressOf returns the client's address as it is logged, or "".
func AddressOf(c *gin.Context) string {
	if client := c.Writer.(*noted).origin.client; client.IsValid() {
		return client.String()
	}
	return ""
}

// ByTrustedProxy reports whether a request comes from a proxy whose headers are believed.
func ByTrustedProxy(c *gin.Context) bool { return c.Writer.(*noted).origin.trusted }

// OverTLS reports whether the caller used TLS, to this service or to the first trusted proxy.
func OverTLS(c *gin.Context) bool { return c.Writer.(*noted).origin.TLS }
