// Package apitest holds tests of the HTTP interface to its contract, api/openapi.yaml.
package apitest

import (
	"bytes"
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync"
	"testing"

	"github.com/getkin/kin-openapi/openapi3"
	"github.com/getkin/kin-openapi/openapi3filter"
	"github.com/getkin/kin-openapi/routers"
	"github.com/getkin/kin-openapi/routers/gorillamux"

	"gatehouse/api"
)

// Contract is api/openapi.yaml.
func Contract(t testing.TB) *openapi3.T {
	t.Helper()
	doc, err := openapi3.NewLoader().LoadFromData(api.YAML())
	if err != nil {
		t.Fatalf("api/openapi.yaml: %v", err)
	}
	return doc
}

// Client fails the test for every answer that the contract does not describe, and for every request that was
// successful though the contract does not allow it. It follows no redirects.
func Client(t testing.TB) *http.Client {
	t.Helper()
	router, err := gorillamux.NewRouter(Contract(t))
	if err != nil {
		t.Fatalf("api/openapi.yaml: %v", err)
	}
	base := http.DefaultTransport.(*http.Transport).Clone()
	base.MaxIdleConnsPerHost = 128
	t.Cleanup(base.CloseIdleConnections)
	return &http.Client{
		Transport:     &checked{t: t, base: base, router: router},
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
}

type checked struct {
	t      testing.TB
	base   http.RoundTripper
	mu     sync.Mutex // the validators share the document
	router routers.Router
}

// RoundTrip implements http.RoundTripper.
func (c *checked) RoundTrip(r *http.Request) (*http.Response, error) {
	sent, err := drain(r.Body)
	if err != nil {
		return nil, err
	}
	out := r.Clone(r.Context())
	out.Body = io.NopCloser(bytes.NewReader(sent))
	response, err := c.base.RoundTrip(out)
	if err != nil {
		return nil, err
	}
	got, err := drain(response.Body)
	if err != nil {
		return nil, err
	}
	response.Body = io.NopCloser(bytes.NewReader(got))
	if err := c.check(r, sent, response, got); err != nil {
		c.t.Errorf("%s %s answered %d: %v\nwith %v\n%s", r.Method, r.URL.Path, response.StatusCode, err, response.Header, got)
	}
	return response, nil
}

func isOpaque(mediaType string) bool {
	return strings.HasPrefix(mediaType, "text/html") || mediaType == "application/jwt"
}

func drain(body io.ReadCloser) ([]byte, error) {
	if body == nil {
		return nil, nil
	}
	defer body.Close()
	return io.ReadAll(body)
}

func (c *checked) check(r *http.Request, sent []byte, response *http.Response, got []byte) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	request := r.Clone(r.Context())
	request.Body = io.NopCloser(bytes.NewReader(sent))
	if request.Method == http.MethodHead {
		request.Method = http.MethodGet
	}
	route, params, err := c.router.FindRoute(request)
	if err != nil {
		return checkUnknown(r, response)
	}
	input := &openapi3filter.RequestValidationInput{
		Request: request, PathParams: params, Route: route,
		Options: &openapi3filter.Options{
			IncludeResponseStatus: true,
			AuthenticationFunc:    openapi3filter.NoopAuthenticationFunc,
			// A page is no data, a JWS is opened only with a key, and an answer to HEAD has none.
			ExcludeResponseBody: r.Method == http.MethodHead || isOpaque(response.Header.Get("Content-Type")),
		},
	}
	if response.StatusCode < http.StatusBadRequest {
		if err := openapi3filter.ValidateRequest(r.Context(), input); err != nil {
			return fmt.Errorf("the contract does not allow this request: %w", err)
		}
	}
	return openapi3filter.ValidateResponse(r.Context(), &openapi3filter.ResponseValidationInput{
		RequestValidationInput: input,
		Status:                 response.StatusCode, Header: response.Header,
		Body:    io.NopCloser(bytes.NewReader(got)),
		Options: input.Options,
	})
}

// checkUnknown is for paths and methods that are not in the contract: they do not exist, but for the files that
// the page at /docs loads.
func checkUnknown(r *http.Request, response *http.Response) error {
	if strings.HasPrefix(r.URL.Path, "/docs/") && response.StatusCode == http.StatusOK {
		return nil
	}
	if s := response.StatusCode; s != http.StatusNotFound && s != http.StatusMethodNotAllowed {
		return fmt.Errorf("the contract has no such path or method")
	}
	if got := response.Header.Get("Content-Type"); got != "application/problem+json; charset=utf-8" {
		return fmt.Errorf("Content-Type is %q", got)
	}
	return nil
}
