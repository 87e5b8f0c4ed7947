package api

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/http/cookiejar"
	"net/url"
	"strings"
)

// Browser logs in on the pages. It keeps cookies.
type Browser struct {
	base   string
	client *http.Client
}

// NewBrowser makes one that nobody has used yet, on the connections of a client.
func NewBrowser(connections *http.Client, base string) Browser {
	jar, _ := cookiejar.New(nil) // it never fails
	return Browser{base, &http.Client{Transport: connections.Transport, Jar: jar, CheckRedirect: func(*http.Request, []*http.Request) error {
		return http.ErrUseLastResponse
	}}}
}

// Get returns what is at a path.
func (b Browser) Get(ctx context.Context, path string) ([]byte, error) {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, b.base+path, nil)
	if err != nil {
		return nil, err
	}
	status, body, err := Answer(b.client, request)
	if err == nil && status != http.StatusOK {
		err = fmt.Errorf("%s: %d %s", path, status, body)
	}
	return body, err
}

// Post sends a form, which has to lead to another path.
func (b Browser) Post(ctx context.Context, path, to string, form url.Values) error {
	request, err := http.NewRequestWithContext(ctx, http.MethodPost, b.base+path, strings.NewReader(form.Encode()))
	if err != nil {
		return err
	}
	request.Header.Set("Content-Type", FormType)
	response, err := b.client.Do(request)
	if err != nil {
		return err
	}
	if led := response.Header.Get("Location"); led != to {
		err = fmt.Errorf("%s: %s, %q", path, response.Status, led)
	}
	return errors.Join(err, response.Body.Close())
}
