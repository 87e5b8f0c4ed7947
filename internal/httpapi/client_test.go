package httpapi

import (
	"crypto/tls"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"slices"
	"strings"
	"testing"
)

func prefixes(networks ...string) []netip.Prefix {
	all := make([]netip.Prefix, len(networks))
	for n, network := range networks {
		all[n] = netip.MustParsePrefix(network)
	}
	return all
}

// Whoever can choose the address that is counted has no limit.
func TestTheClientIsTheFirstThatNoTrustedProxyVouchesFor(t *testing.T) {
	t.Parallel()
	trusted := prefixes("10.0.0.0/8", "fd00::/8")
	for _, test := range []struct {
		name, header, peer string
		lines              []string
		client             string
	}{
		{"no proxy", ForwardedFor, "192.0.2.1:5", nil, "192.0.2.1"},
		{"forged without a proxy", ForwardedFor, "192.0.2.1:5", []string{"6.6.6.6"}, "192.0.2.1"},
		{"one proxy", ForwardedFor, "10.0.0.1:5", []string{"192.0.2.1"}, "192.0.2.1"},
		{"forged through a proxy", ForwardedFor, "10.0.0.1:5", []string{"6.6.6.6, 192.0.2.1"}, "192.0.2.1"},
		{"forged as a proxy", ForwardedFor, "10.0.0.1:5", []string{"10.6.6.6, 192.0.2.1"}, "192.0.2.1"},
		{"forged in a line of its own", ForwardedFor, "10.0.0.1:5", []string{"6.6.6.6", "192.0.2.1"}, "192.0.2.1"},
		{"two proxies", ForwardedFor, "10.0.0.1:5", []string{"6.6.6.6, 192.0.2.1,10.0.0.2"}, "192.0.2.1"},
		{"two proxies, two lines", ForwardedFor, "10.0.0.1:5", []string{"192.0.2.1", "10.0.0.2"}, "192.0.2.1"},
		{"proxies alone", ForwardedFor, "10.0.0.1:5", []string{"10.0.0.3, 10.0.0.2"}, "10.0.0.3"},
		{"a proxy that says nothing", ForwardedFor, "10.0.0.1:5", nil, "10.0.0.1"},
		{"no address", ForwardedFor, "10.0.0.1:5", []string{"192.0.2.1, unknown"}, "10.0.0.1"},
		{"no address behind a second proxy", ForwardedFor, "10.0.0.1:5", []string{"192.0.2.1, x, 10.0.0.2"}, "10.0.0.2"},
		{"empty", ForwardedFor, "10.0.0.1:5", []string{"192.0.2.1,"}, "10.0.0.1"},
		{"with a port", ForwardedFor, "10.0.0.1:5", []string{"192.0.2.1:65535"}, "192.0.2.1"},
		{"with port 0", ForwardedFor, "10.0.0.1:5", []string{"192.0.2.1:0"}, "192.0.2.1"},
		{"with a port there cannot be", ForwardedFor, "10.0.0.1:5", []string{"192.0.2.1:65536"}, "10.0.0.1"},
		{"with a port that is none", ForwardedFor, "10.0.0.1:5", []string{"192.0.2.1:http"}, "10.0.0.1"},
		{"IPv6", ForwardedFor, "[fd00::1]:5", []string{"2001:db8::1"}, "2001:db8::1"},
		{"IPv6 in brackets", ForwardedFor, "[fd00::1]:5", []string{"[2001:db8::1]"}, "2001:db8::1"},
		{"IPv6 with a port", ForwardedFor, "[fd00::1]:5", []string{"[2001:db8::1]:443"}, "2001:db8::1"},
		{"IPv6 with half a bracket", ForwardedFor, "[fd00::1]:5", []string{"[2001:db8::1"}, "fd00::1"},
		{"IPv4 in brackets", ForwardedFor, "[fd00::1]:5", []string{"[192.0.2.1]"}, "fd00::1"},
		{"IPv6 with a zone", ForwardedFor, "10.0.0.1:5", []string{"fe80::1%eth0"}, "fe80::1"},
		{"a peer with a zone", ForwardedFor, "[fe80::1%eth0]:5", nil, "fe80::1"},
		{"a mapped proxy and client", ForwardedFor, "[::ffff:10.0.0.1]:5", []string{"::ffff:192.0.2.1"}, "192.0.2.1"},
		{"a mapped proxy in between", ForwardedFor, "10.0.0.1:5", []string{"192.0.2.1, ::ffff:10.0.0.2"}, "192.0.2.1"},
		{"octal", ForwardedFor, "10.0.0.1:5", []string{"192.0.2.01"}, "10.0.0.1"},
		{"RFC 7239", Forwarded, "10.0.0.1:5", []string{"for=192.0.2.1"}, "192.0.2.1"},
		{"RFC 7239, forged", Forwarded, "10.0.0.1:5", []string{"for=6.6.6.6, for=192.0.2.1;proto=http;by=10.0.0.1"}, "192.0.2.1"},
		{"RFC 7239, two lines", Forwarded, "10.0.0.1:5", []string{"for=6.6.6.6", "for=192.0.2.1, For=10.0.0.2"}, "192.0.2.1"},
		{"RFC 7239, IPv6 with a port", Forwarded, "10.0.0.1:5", []string{`by=x; FOR="[2001:db8::1]:4711" ;host=h`}, "2001:db8::1"},
		{"RFC 7239, hidden", Forwarded, "10.0.0.1:5", []string{"for=192.0.2.1, for=_hidden"}, "10.0.0.1"},
		{"RFC 7239, unknown", Forwarded, "10.0.0.1:5", []string{"for=192.0.2.1, for=unknown"}, "10.0.0.1"},
		{"RFC 7239, nobody", Forwarded, "10.0.0.1:5", []string{"for=192.0.2.1, proto=https"}, "10.0.0.1"},
		{"RFC 7239, a comma in quotes", Forwarded, "10.0.0.1:5", []string{`for=192.0.2.1;host="a,for=6.6.6.6"`}, "192.0.2.1"},
		{"RFC 7239, a quote that does not end", Forwarded, "10.0.0.1:5", []string{`for=6.6.6.6;host=", for=192.0.2.1`}, "10.0.0.1"},
		{"RFC 7239, an escaped quote", Forwarded, "10.0.0.1:5", []string{`for=192.0.2.1;host="a\",for=6.6.6.6"`}, "192.0.2.1"},
	} {
		s := &server{trustedProxies: trusted, forwardedHeader: test.header}
		r := httptest.NewRequest("GET", "/", nil)
		r.RemoteAddr = test.peer
		for _, line := range test.lines {
			r.Header.Add(test.header, line)
		}
		other := ForwardedFor // which must never count
		if test.header == ForwardedFor {
			other = Forwarded
		}
		r.Header.Set(other, "for=7.7.7.7")
		if got := s.originOf(r).client; got.String() != test.client {
			t.Errorf("%s: %v, want %s", test.name, got, test.client)
		}
	}
}

// A proxy adds to what a client has sent, in a line of its own or behind it. The client may open a quote that the proxy
// closes, so that both are one element.
func FuzzWhatAClientForgesIsNotTakenForWhatItsProxySays(f *testing.F) {
	f.Add("6.6.6.6", "192.0.2.1")
	f.Add(`for=6.6.6.6;host="`, "for=192.0.2.1")
	f.Add(`for=6.6.6.6;host="\`, `for="192.0.2.1:80"`)
	f.Add(`for=6.6.6.6;host="`, `for="192.0.2.1:80";by="a"`)
	f.Fuzz(func(t *testing.T, forged, vouched string) {
		for _, header := range []string{ForwardedFor, Forwarded} {
			s := &server{trustedProxies: prefixes("10.0.0.0/8"), forwardedHeader: header}
			clientOf := func(lines ...string) string {
				r := httptest.NewRequest("GET", "/", nil)
				r.RemoteAddr = "10.0.0.1:5"
				r.Header[header] = lines
				return s.originOf(r).client.String()
			}
			if clientOf(vouched) != "192.0.2.1" {
				continue // the proxy says something else
			}
			if got := clientOf(forged, vouched); got != "192.0.2.1" {
				t.Errorf("in lines of %s: %s", header, got)
			}
			if got := clientOf(forged + ", " + vouched); got != "192.0.2.1" && got != "10.0.0.1" {
				t.Errorf("in one line of %s: %s", header, got)
			}
		}
	})
}

func TestTheSchemeIsTheTrustedProxysAlone(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		header, peer string
		sent         []string
		tls, want    bool
	}{
		"direct":                {ForwardedFor, "192.0.2.1:5", nil, true, true},
		"plain":                 {ForwardedFor, "192.0.2.1:5", nil, false, false},
		"forged":                {ForwardedFor, "192.0.2.1:5", []string{"X-Forwarded-Proto", "https"}, false, false},
		"proxy":                 {ForwardedFor, "10.0.0.1:5", []string{"X-Forwarded-Proto", "https"}, false, true},
		"RFC 7239":              {Forwarded, "10.0.0.1:5", []string{Forwarded, `for=192.0.2.1;proto="HTTPS"`}, false, true},
		"RFC 7239, forged":      {Forwarded, "10.0.0.1:5", []string{Forwarded, "proto=https, for=192.0.2.1"}, false, false},
		"RFC 7239, other style": {Forwarded, "10.0.0.1:5", []string{"X-Forwarded-Proto", "https"}, false, false},
	} {
		s := &server{trustedProxies: prefixes("10.0.0.0/8"), forwardedHeader: test.header}
		r := httptest.NewRequest("GET", "/", nil)
		r.RemoteAddr = test.peer
		for n := 0; n < len(test.sent); n += 2 {
			r.Header.Add(test.sent[n], test.sent[n+1])
		}
		if test.tls {
			r.TLS = &tls.ConnectionState{}
		}
		if got := s.originOf(r).tls; got != test.want {
			t.Errorf("%s: %v", name, got)
		}
	}
}

// cookieOf is the device cookie of an answer.
func cookieOf(a answered) *http.Cookie {
	cookies := (&http.Response{Header: a.header}).Cookies()
	if n := slices.IndexFunc(cookies, func(c *http.Cookie) bool { return c.Name == deviceCookie }); n >= 0 {
		return cookies[n]
	}
	return &http.Cookie{}
}

func (f *fixture) loginWith(username, pw string, header ...string) answered {
	f.Helper()
	return f.do(f.request("POST", "/token", "username="+username+"&password="+strings.ReplaceAll(pw, " ", "+"),
		append([]string{"Content-Type", "application/x-www-form-urlencoded"}, header...)...))
}
