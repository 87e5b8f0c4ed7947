package backchannel

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strings"
	"time"
)

const (
	// patience is what an app has for its whole answer.
	patience = 5 * time.Second

	connectPatience = 3 * time.Second
	idle            = 10 * time.Second // a mass of logouts goes over few connections
	mostHeader      = 16 << 10
	mostBody        = 4 << 10 // read, so that the connection can be used again, and not looked at
)

// newClient makes a client that goes to the app itself. A proxy of the environment would see the
// tokens. A redirect is not followed: the address is the one that was registered.
func newClient() *http.Client {
	return &http.Client{
		Timeout:       patience,
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
		Transport: &http.Transport{
			DialContext:            (&net.Dialer{Timeout: connectPatience}).DialContext,
			TLSHandshakeTimeout:    connectPatience,
			ForceAttemptHTTP2:      true,
			IdleConnTimeout:        idle,
			MaxIdleConnsPerHost:    Workers,
			MaxResponseHeaderBytes: mostHeader,
		},
	}
}

// post sends a logout token (§2.5). The app has taken it if it says 200, or 204 for an empty body
// (§2.8). Any other answer is a failure, that is worth another try: 400 too, since it is also the
// answer of an app whose own logout has failed. No error names the URI or quotes the answer.
func post(ctx context.Context, client *http.Client, uri, token string) error {
	form := url.Values{"logout_token": {token}}.Encode()
	request, err := http.NewRequestWithContext(ctx, http.MethodPost, uri, strings.NewReader(form))
	if err != nil {
		return errors.New("the URI is no URL")
	}
	request.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	request.Header.Set("User-Agent", "gatehouse")
	response, err := client.Do(request)
	if err != nil {
		return withoutURL(err)
	}
	defer response.Body.Close()
	_, _ = io.CopyN(io.Discard, response.Body, mostBody)
	switch response.StatusCode {
	case http.StatusOK, http.StatusNoContent:
		return nil
	}
	return fmt.Errorf("the app answers %d", response.StatusCode)
}

// withoutURL leaves the URL out, since its query may hold a secret of the app.
func withoutURL(err error) error {
	if failed, ok := errors.AsType[*url.Error](err); ok {
		return failed.Err
	}
	return err
}
