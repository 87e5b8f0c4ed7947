package app

import (
	"cmp"
	"context"
	"crypto/rand"
	"crypto/tls"
	"encoding/json"
	"io"
	"net"
	"net/http"
	"net/url"
	"strings"

	"gatehouse.example/internal/config"
	"gatehouse.example/internal/doctor"
)

const unreached = "see that --via is a URL at which clients reach the service"

// ofWay are the checks of the way through the proxy, if a URL says where that begins.
func (e Examination) ofWay(s config.Serve) []doctor.Check {
	if e.Via == "" {
		return nil
	}
	return []doctor.Check{
		{Name: "certificate", Look: e.certificate},
		{Name: "way", Needs: "certificate", Look: func(ctx context.Context) doctor.Finding {
			passage, err := e.passage(ctx)
			if err != nil {
				return doctor.Broken(err, unreached)
			}
			return doctor.Way(passage, s.Issuer)
		}},
	}
}

// certificate looks at the certificate of the URL, also at one that clients refuse.
func (e Examination) certificate(ctx context.Context) doctor.Finding {
	via, err := url.Parse(e.Via)
	if err != nil || via.Host == "" {
		return doctor.Failed("--via is no URL", unreached)
	}
	if via.Scheme != "https" {
		return doctor.Good("there is none: --via is not https")
	}
	dialer := tls.Dialer{Config: &tls.Config{RootCAs: e.Roots, ServerName: via.Hostname()}}
	conn, err := dialer.DialContext(ctx, "tcp", net.JoinHostPort(via.Hostname(), cmp.Or(via.Port(), "443")))
	if err != nil {
		return doctor.Certificate(err, e.Clock(), e.Clock())
	}
	defer conn.Close()
	chain := conn.(*tls.Conn).ConnectionState().PeerCertificates
	return doctor.Certificate(nil, chain[0].NotAfter, e.Clock())
}

// passage sends two requests through the proxy. The second one lies about where it comes from, and
// says the opposite of the truth about TLS.
func (e Examination) passage(ctx context.Context) (p doctor.Passage, err error) {
	client := &http.Client{
		Transport:     &http.Transport{TLSClientConfig: &tls.Config{RootCAs: e.Roots}, DisableKeepAlives: true},
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
	p.HTTPS = strings.HasPrefix(e.Via, "https:")
	scheme, id := "https", "doctor-"+rand.Text()
	if p.HTTPS {
		scheme = "http"
	}
	const told = "Strict-Transport-Security"
	plain, issuer, err := metadata(ctx, client, e.Via, nil)
	if err != nil {
		return p, err
	}
	p.Issuer, p.Status, p.TLSKnown = issuer, plain.StatusCode, plain.Header.Get(told) != ""
	lied, _, err := metadata(ctx, client, e.Via, map[string]string{
		"X-Forwarded-For": doctor.Lie, "X-Forwarded-Proto": scheme, "X-Request-Id": id,
		"Forwarded": "for=" + doctor.Lie + ";proto=" + scheme,
	})
	if err != nil {
		return p, err
	}
	p.LieTaken = p.TLSKnown != (lied.Header.Get(told) != "")
	p.RequestID = lied.Header.Get("X-Request-Id")
	p.IDTaken = p.RequestID == id
	return p, nil
}

// metadata asks for what everybody may know, and returns the issuer in it, or "".
func metadata(
	ctx context.Context, client *http.Client, at string, header map[string]string,
) (answer *http.Response, issuer string, err error) {
	address := strings.TrimRight(at, "/") + "/.well-known/openid-configuration"
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, address, nil)
	if err != nil {
		return nil, "", err
	}
	for name, value := range header {
		request.Header.Set(name, value)
	}
	answer, err = client.Do(request)
	if err != nil {
		return nil, "", err
	}
	defer answer.Body.Close()
	var body struct {
		Issuer string `json:"issuer"`
	}
	// what is no metadata has no issuer
	_ = json.NewDecoder(io.LimitReader(answer.Body, 1<<20)).Decode(&body)
	return answer, body.Issuer, nil
}
