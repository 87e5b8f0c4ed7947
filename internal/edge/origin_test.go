package edge

import (
	"crypto/tls"
	"net/http/httptest"
	"net/netip"
	"testing"
)

func prefixes(networks ...string) []netip.Prefix {
	all := make([]netip.Prefix, len(networks))
	for n, network := range networks {
		all[n] = netip.MustParsePrefix(network)
	}
	return all
}

// A client that can choose the address that is counted has no limit.
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
		{"forged through a proxy", ForwardedFor, "10.0.0.1:5", []string{"6.6.6.6, 192.0.2.1"},
			"192.0.2.1"},
		{"forged as a proxy", ForwardedFor, "10.0.0.1:5", []string{"10.6.6.6, 192.0.2.1"},
			"192.0.2.1"},
		{"forged in a line of its own", ForwardedFor, "10.0.0.1:5",
			[]string{"6.6.6.6", "192.0.2.1"}, "192.0.2.1"},
		{"two proxies", ForwardedFor, "10.0.0.1:5", []string{"6.6.6.6, 192.0.2.1,10.0.0.2"},
			"192.0.2.1"},
		{"two proxies, two lines", ForwardedFor, "10.0.0.1:5", []string{"192.0.2.1", "10.0.0.2"},
			"192.0.2.1"},
		{"proxies alone", ForwardedFor, "10.0.0.1:5", []string{"10.0.0.3, 10.0.0.2"}, "10.0.0.3"},
		{"a proxy that says nothing", ForwardedFor, "10.0.0.1:5", nil, "10.0.0.1"},
		{"no address", ForwardedFor, "10.0.0.1:5", []string{"192.0.2.1, unknown"}, "10.0.0.1"},
		{"no address behind a second proxy", ForwardedFor, "10.0.0.1:5",
			[]string{"192.0.2.1, x, 10.0.0.2"}, "10.0.0.2"},
		{"empty", ForwardedFor, "10.0.0.1:5", []string{"192.0.2.1,"}, "10.0.0.1"},
		{"with a port", ForwardedFor, "10.0.0.1:5", []string{"192.0.2.1:65535"}, "192.0.2.1"},
		{"with port 0", ForwardedFor, "10.0.0.1:5", []string{"192.0.2.1:0"}, "192.0.2.1"},
		{"with a port there cannot be", ForwardedFor, "10.0.0.1:5", []string{"192.0.2.1:65536"},
			"10.0.0.1"},
		{"with a port that is none", ForwardedFor, "10.0.0.1:5", []string{"192.0.2.1:http"},
			"10.0.0.1"},
		{"IPv6", ForwardedFor, "[fd00::1]:5", []string{"2001:db8::1"}, "2001:db8::1"},
		{"IPv6 in brackets", ForwardedFor, "[fd00::1]:5", []string{"[2001:db8::1]"}, "2001:db8::1"},
		{"IPv6 with a port", ForwardedFor, "[fd00::1]:5", []string{"[2001:db8::1]:443"},
			"2001:db8::1"},
		{"IPv6 with half a bracket", ForwardedFor, "[fd00::1]:5", []string{"[2001:db8::1"},
			"fd00::1"},
		{"IPv4 in brackets", ForwardedFor, "[fd00::1]:5", []string{"[192.0.2.1]"}, "fd00::1"},
		{"IPv6 with a zone", ForwardedFor, "10.0.0.1:5", []string{"fe80::1%eth0"}, "fe80::1"},
		{"a peer with a zone", ForwardedFor, "[fe80::1%eth0]:5", nil, "fe80::1"},
		{"a mapped proxy and client", ForwardedFor, "[::ffff:10.0.0.1]:5",
			[]string{"::ffff:192.0.2.1"}, "192.0.2.1"},
		{"a mapped proxy in between", ForwardedFor, "10.0.0.1:5",
			[]string{"192.0.2.1, ::ffff:10.0.0.2"}, "192.0.2.1"},
		{"octal", ForwardedFor, "10.0.0.1:5", []string{"192.0.2.01"}, "10.0.0.1"},
		{"RFC 7239", Forwarded, "10.0.0.1:5", []string{"for=192.0.2.1"}, "192.0.2.1"},
		{"RFC 7239, forged", Forwarded, "10.0.0.1:5",
			[]string{"for=6.6.6.6, for=192.0.2.1;proto=http;by=10.0.0.1"}, "192.0.2.1"},
		{"RFC 7239, two lines", Forwarded, "10.0.0.1:5",
			[]string{"for=6.6.6.6", "for=192.0.2.1, For=10.0.0.2"}, "192.0.2.1"},
		{"RFC 7239, IPv6 with a port", Forwarded, "10.0.0.1:5",
			[]string{`by=x; FOR="[2001:db8::1]:4711" ;host=h`}, "2001:db8::1"},
		{"RFC 7239, hidden", Forwarded, "10.0.0.1:5", []string{"for=192.0.2.1, for=_hidden"},
			"10.0.0.1"},
		{"RFC 7239, unknown", Forwarded, "10.0.0.1:5", []string{"for=192.0.2.1, for=unknown"},
			"10.0.0.1"},
		{"RFC 7239, nobody", Forwarded, "10.0.0.1:5", []string{"for=192.0.2.1, proto=https"},
			"10.0.0.1"},
		{"RFC 7239, a comma in quotes", Forwarded, "10.0.0.1:5",
			[]string{`for=192.0.2.1;host="a,for=6.6.6.6"`}, "192.0.2.1"},
		{"RFC 7239, a quote that does not end", Forwarded, "10.0.0.1:5",
			[]string{`for=6.6.6.6;host=", for=192.0.2.1`}, "10.0.0.1"},
		{"RFC 7239, an escaped quote", Forwarded, "10.0.0.1:5",
			[]string{`for=192.0.2.1;host="a\",for=6.6.6.6"`}, "192.0.2.1"},
	} {
		e := &Edge{trustedProxies: trusted, forwardedHeader: test.header}
		r := httptest.NewRequest("GET", "/", nil)
		r.RemoteAddr = test.peer
		for _, line := range test.lines {
			r.Header.Add(test.header, line)
		}
		other := ForwardedFor // this header must never count
		if test.header == ForwardedFor {
			other = Forwarded
		}
		r.Header.Set(other, "for=7.7.7.7")
		if got := e.originOf(r).client; got.String() != test.client {
			t.Errorf("%s: %v, want %s", test.name, got, test.client)
		}
	}
}

// The client has sent a line, and the proxy adds one. Whatever state the client's line leaves the
// parser in, it must not count.
func TestNoStateOfALineOfForwardedLetsTheLineBeforeCount(t *testing.T) {
	t.Parallel()
	for _, test := range []struct{ state, sent, added, client string }{
		{"outside", `for=6.6.6.6`, `for=192.0.2.1`, "192.0.2.1"},
		{"outside, empty", `for=6.6.6.6`, ``, "10.0.0.1"},
		{"outside, blank", `for=6.6.6.6`, " \t", "10.0.0.1"},
		{"behind a comma", `for=6.6.6.6`, `for=192.0.2.1,`, "10.0.0.1"},
		{"behind two commas", `for=6.6.6.6`, `for=192.0.2.1,,`, "10.0.0.1"},
		{"before a comma", `for=6.6.6.6`, `,for=192.0.2.1`, "192.0.2.1"},
		{"behind a semicolon", `for=6.6.6.6`, `for=192.0.2.1;`, "192.0.2.1"},
		{"before a semicolon", `for=6.6.6.6`, `;for=192.0.2.1`, "192.0.2.1"},
		{"blanks around a pair", `for=6.6.6.6`, "proto=http;\t for=192.0.2.1 \t;by=x", "192.0.2.1"},
		{"blanks around =", `for=6.6.6.6`, `for = 192.0.2.1`, "10.0.0.1"},
		{"a name alone", `for=6.6.6.6`, `for`, "10.0.0.1"},
		{"a name and =", `for=6.6.6.6`, `for=`, "10.0.0.1"},
		{"a longer name", `for=6.6.6.6`, `xfor=192.0.2.1`, "10.0.0.1"},
		{"in quotes, a comma", `for=6.6.6.6`, `for=192.0.2.1;host="a,b"`, "192.0.2.1"},
		{"in quotes, a semicolon", `for=6.6.6.6`, `for=192.0.2.1;host="a;for=7.7.7.7"`,
			"192.0.2.1"},
		{"in quotes, before what counts", `for=6.6.6.6`, `host="a;b,c";for=192.0.2.1`, "192.0.2.1"},
		{"in quotes, the address", `for=6.6.6.6`, `for="192.0.2.1"`, "192.0.2.1"},
		{"in quotes, the address with a port", `for=6.6.6.6`, `for="192.0.2.1:80"`, "192.0.2.1"},
		{"in empty quotes", `for=6.6.6.6`, `for=""`, "10.0.0.1"},
		{"behind a quote in a value", `for=6.6.6.6`, `for=192.0.2.1"a,b"`, "10.0.0.1"},
		{"in quotes at the end", `for=6.6.6.6`, `for=192.0.2.1;host="`, "10.0.0.1"},
		{"in quotes at the end, around the address", `for=6.6.6.6`, `for="192.0.2.1`, "10.0.0.1"},
		{"in quotes at the end, behind a comma", `for=6.6.6.6`, `host=", for=192.0.2.1`,
			"10.0.0.1"},
		{"a quote alone", `for=6.6.6.6`, `"`, "10.0.0.1"},
		{"escaped, a quote", `for=6.6.6.6`, `for=192.0.2.1;host="a\",b"`, "192.0.2.1"},
		{"escaped, a quote at the end", `for=6.6.6.6`, `for=192.0.2.1;host="a\"`, "10.0.0.1"},
		{"escaped, a backslash", `for=6.6.6.6`, `for=192.0.2.1;host="a\\",for=192.0.2.2`,
			"192.0.2.2"},
		{"escaped, nothing", `for=6.6.6.6`, `for=192.0.2.1;host="a\`, "10.0.0.1"},
		{"a backslash outside, before a comma", `for=6.6.6.6`, `host=a\,for=192.0.2.1`,
			"192.0.2.1"},
		{"a backslash outside, before a quote", `for=6.6.6.6`, `for=192.0.2.1;host=a\"`,
			"10.0.0.1"},
		{"a backslash outside, before quotes", `for=6.6.6.6`, `host=a\"b,c";for=192.0.2.1`,
			"192.0.2.1"},

		{"the client's in quotes", `for=6.6.6.6;host="`, `for=192.0.2.1`, "192.0.2.1"},
		{"the client's in quotes, which the proxy's would close", `for=6.6.6.6;host="`,
			`for="192.0.2.1:80";by="a"`, "192.0.2.1"},
		{"the client's escaped", `for=6.6.6.6;host="\`, `for="192.0.2.1:80"`, "192.0.2.1"},
		{"the client's in quotes, before a proxy", `for=6.6.6.6;host="`, `for=10.0.0.2`,
			"10.0.0.2"},
		{"the client's, before a proxy whose line is in quotes", `for=6.6.6.6`,
			`for=10.0.0.2;host="`, "10.0.0.1"},
		{"the client's, before a proxy that names nobody", `for=6.6.6.6`,
			`by=10.0.0.3, for=10.0.0.2`, "10.0.0.2"},
	} {
		e := &Edge{trustedProxies: prefixes("10.0.0.0/8"), forwardedHeader: Forwarded}
		r := httptest.NewRequest("GET", "/", nil)
		r.RemoteAddr = "10.0.0.1:5"
		r.Header[Forwarded] = []string{test.sent, test.added}
		if got := e.originOf(r).client.String(); got != test.client {
			t.Errorf("%s: of %q and %q the client is %s, want %s", test.state, test.sent,
				test.added, got, test.client)
		}
	}
}

// A proxy adds to what a client has sent, in a line of its own or after it. The client may open a
// quote that the proxy closes, so that both look like one element.
func FuzzWhatAClientForgesIsNotTakenForWhatItsProxySays(f *testing.F) {
	f.Add("6.6.6.6", "192.0.2.1")
	f.Add(`for=6.6.6.6;host="`, "for=192.0.2.1")
	f.Add(`for=6.6.6.6;host="\`, `for="192.0.2.1:80"`)
	f.Add(`for=6.6.6.6;host="`, `for="192.0.2.1:80";by="a"`)
	f.Fuzz(func(t *testing.T, forged, vouched string) {
		for _, header := range []string{ForwardedFor, Forwarded} {
			e := &Edge{trustedProxies: prefixes("10.0.0.0/8"), forwardedHeader: header}
			clientOf := func(lines ...string) string {
				r := httptest.NewRequest("GET", "/", nil)
				r.RemoteAddr = "10.0.0.1:5"
				r.Header[header] = lines
				return e.originOf(r).client.String()
			}
			if clientOf(vouched) != "192.0.2.1" {
				continue // the proxy adds something else
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
		"direct": {ForwardedFor, "192.0.2.1:5", nil, true, true},
		"plain":  {ForwardedFor, "192.0.2.1:5", nil, false, false},
		"forged": {ForwardedFor, "192.0.2.1:5",
			[]string{"X-Forwarded-Proto", "https"}, false, false},
		"proxy": {ForwardedFor, "10.0.0.1:5",
			[]string{"X-Forwarded-Proto", "https"}, false, true},
		"RFC 7239": {Forwarded, "10.0.0.1:5",
			[]string{Forwarded, `for=192.0.2.1;proto="HTTPS"`}, false, true},
		"RFC 7239, forged": {Forwarded, "10.0.0.1:5",
			[]string{Forwarded, "proto=https, for=192.0.2.1"}, false, false},
		"RFC 7239, other style": {Forwarded, "10.0.0.1:5", []string{"X-Forwarded-Proto", "https"},
			false, false},
		"in capitals": {ForwardedFor, "10.0.0.1:5",
			[]string{"X-Forwarded-Proto", "HTTPS"}, false, true},
		"another scheme": {ForwardedFor, "10.0.0.1:5",
			[]string{"X-Forwarded-Proto", "httpsx"}, false, false},
		"empty": {ForwardedFor, "10.0.0.1:5", []string{"X-Forwarded-Proto", ""},
			false, false},
		"forged, and the proxy adds to it": {
			ForwardedFor, "10.0.0.1:5",
			[]string{ForwardedFor, "192.0.2.1", "X-Forwarded-Proto", "https, http"}, false, false,
		},
		"forged in a line of its own": {
			ForwardedFor, "10.0.0.1:5",
			[]string{ForwardedFor, "192.0.2.1", "X-Forwarded-Proto", "https", "X-Forwarded-Proto",
				"http"}, false, false,
		},
		"the proxy was reached by TLS, whatever the client says": {
			ForwardedFor, "10.0.0.1:5",
			[]string{ForwardedFor, "6.6.6.6, 192.0.2.1", "X-Forwarded-Proto", "http,https"}, false,
			true,
		},
		"two proxies, TLS to the first": {
			ForwardedFor, "10.0.0.1:5",
			[]string{ForwardedFor, "192.0.2.1, 10.0.0.2", "X-Forwarded-Proto", "https ,http"},
			false, true,
		},
		"two proxies, TLS between them": {
			ForwardedFor, "10.0.0.1:5",
			[]string{ForwardedFor, "192.0.2.1, 10.0.0.2", "X-Forwarded-Proto", "http, https"},
			false, false,
		},
		"two proxies, of which the second passes on": {
			ForwardedFor, "10.0.0.1:5",
			[]string{ForwardedFor, "192.0.2.1, 10.0.0.2", "X-Forwarded-Proto", "https"}, false,
			true,
		},
		"two proxies, and a client that forges": {
			ForwardedFor, "10.0.0.1:5",
			[]string{ForwardedFor, "6.6.6.6, 192.0.2.1, 10.0.0.2", "X-Forwarded-Proto",
				"https, http, http"}, false, false,
		},
		"RFC 7239, two proxies, TLS to the first": {
			Forwarded, "10.0.0.1:5",
			[]string{Forwarded, "for=192.0.2.1;proto=https, for=10.0.0.2;proto=http"}, false, true,
		},
		"RFC 7239, two proxies, TLS between them": {
			Forwarded, "10.0.0.1:5",
			[]string{Forwarded, "for=192.0.2.1;proto=http, for=10.0.0.2;proto=https"}, false, false,
		},
		"RFC 7239, a hidden client": {Forwarded, "10.0.0.1:5",
			[]string{Forwarded, "for=_a;proto=https, for=10.0.0.2;proto=http"}, false, true},
		"RFC 7239, behind a hidden proxy": {Forwarded, "10.0.0.1:5",
			[]string{Forwarded, "for=6.6.6.6;proto=https, for=_a;proto=http"}, false, false},
	} {
		e := &Edge{trustedProxies: prefixes("10.0.0.0/8"), forwardedHeader: test.header}
		r := httptest.NewRequest("GET", "/", nil)
		r.RemoteAddr = test.peer
		for n := 0; n < len(test.sent); n += 2 {
			r.Header.Add(test.sent[n], test.sent[n+1])
		}
		if test.tls {
			r.TLS = &tls.ConnectionState{}
		}
		if got := e.originOf(r).TLS; got != test.want {
			t.Errorf("%s: %v", name, got)
		}
	}
}
